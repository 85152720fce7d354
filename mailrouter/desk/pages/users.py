"""Accounts: who may log in, what they may do and which restricted cases they may read. Administrators only."""

import logging
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from sqlmodel import Session, col, select
from starlette.responses import Response

from mailrouter.desk import auth
from mailrouter.desk.auth import AccountError, Act, Visitor
from mailrouter.desk.context import AtDesk, Desk, Field, Writer, require, see
from mailrouter.desk.pages.admin import Administrator
from mailrouter.tables import Restriction, Role, User

log = logging.getLogger(__name__)

router = APIRouter(prefix="/admin/anvandare")


def administering(visitor: Writer) -> Visitor:
    """An administrator who sends a form that we made. Raises ForbiddenError."""
    require(visitor, Act.ADMINISTER)
    return visitor


Changing = Annotated[Visitor, Depends(administering)]
Clearances = Annotated[list[str], Form()]


@router.get("")
def show(request: Request, desk: AtDesk, visitor: Administrator, sparad: str = "") -> Response:
    """Everybody, with a form each, and one for somebody new."""
    return _page(request, desk, visitor, saved=sparad)


@router.post("")
def add(
    request: Request,
    desk: AtDesk,
    visitor: Changing,
    namn: Field = "",
    losenord: Field = "",
    roll: Field = "",
    enhet: Field = "",
    behorighet: Clearances = [],  # noqa: B006 (FastAPI copies it)
) -> Response:
    """Let somebody new in."""

    def make(session: Session) -> str:
        role = _role(roll)
        unit = _unit(desk, enhet)
        return auth.create_user(session, namn, losenord, role, desk.clock(), unit=unit, clearances=behorighet).name

    return _change(request, desk, visitor, "added", make)


@router.post("/{user_id}/ratt")
def allow(
    request: Request,
    desk: AtDesk,
    visitor: Changing,
    user_id: int,
    roll: Field = "",
    enhet: Field = "",
    behorighet: Clearances = [],  # noqa: B006 (as above)
) -> Response:
    """Change what somebody may do and see."""

    def change(session: Session) -> str:
        user = _user(session, user_id)
        role = _role(roll)
        if user.id == visitor.user_id and role is not Role.ADMIN:
            raise AccountError("an administrator stays one: somebody else has to change it")
        auth.allow(user, role=role, unit=_unit(desk, enhet), clearances=behorighet)
        return user.name

    return _change(request, desk, visitor, "changed", change)


@router.post("/{user_id}/losenord")
def new_password(request: Request, desk: AtDesk, visitor: Changing, user_id: int, losenord: Field = "") -> Response:
    """Give somebody another password; logins that are open end."""

    def change(session: Session) -> str:
        user = _user(session, user_id)
        auth.change_password(session, user, losenord)
        return user.name

    return _change(request, desk, visitor, "password", change)


@router.post("/{user_id}/aktiv")
def switch(request: Request, desk: AtDesk, visitor: Changing, user_id: int, aktiv: Field = "") -> Response:
    """Keep somebody out, or let them in again."""

    def change(session: Session) -> str:
        user = _user(session, user_id)
        if user.id == visitor.user_id:
            raise AccountError("nobody locks out themselves")
        auth.set_active(session, user, active=bool(aktiv))
        return user.name

    return _change(request, desk, visitor, "enabled" if aktiv else "disabled", change)


def _change(request: Request, desk: Desk, visitor: Visitor, what: str, change: Callable[[Session], str]) -> Response:
    try:
        with desk.store.write() as session:
            name = change(session)
    except AccountError:
        return _page(request, desk, visitor, fault=True, status=422)
    log.info("user-%s name=%s by=%s", what, name, visitor.name)
    return see("/admin/anvandare", sparad=name)


def _user(session: Session, user_id: int) -> User:
    user = session.get(User, user_id, with_for_update=True)
    if user is None:
        raise AccountError("there is no such user")
    return user


def _role(written: str) -> Role:
    if written not in set(Role):
        raise AccountError("there is no such role")
    return Role(written)


def _unit(desk: Desk, written: str) -> str:
    if written and written not in desk.organisation.units:
        raise AccountError("there is no such förvaltning")
    return written


def _page(
    request: Request, desk: Desk, visitor: Visitor, *, saved: str = "", fault: bool = False, status: int = 200
) -> Response:
    with desk.store.read() as session:
        users = session.exec(select(User).order_by(col(User.active).desc(), col(User.name))).all()
    today = desk.today()
    return desk.render(
        request,
        "users.html",
        visitor,
        status=status,
        users=users,
        roles=list(Role),
        clearances=list(Restriction),
        units=sorted(
            (one for one in desk.organisation.units.values() if one.answers_on(today)), key=lambda one: one.name
        ),
        by_name=desk.organisation.units,
        shortest=auth.SHORTEST_PASSWORD,
        saved=saved,
        fault=fault,
    )
