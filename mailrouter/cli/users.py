"""Commands on the desk's accounts: user add, list, password, disable."""

from datetime import UTC, datetime
from pathlib import Path

import click
from sqlmodel import Session, col, select

from mailrouter import organisation
from mailrouter.cli.common import config_option, echo_json, echo_table, json_option, open_store
from mailrouter.tables import Login, Role, User

ROLE = click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.SERVICEVAGLEDARE.value,
    show_default=True,
    help="What the user may do.",
)
PASSWORD_FILE = click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the password from a file.",
)


class UserError(Exception):
    """What was asked of an account cannot be done; the message says why."""


@click.group()
def user() -> None:
    """Accounts of the desk."""


def _password(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").strip()
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


@user.command(epilog="Example: mailrouter user add anna --role servicevagledare")
@click.argument("name")
@ROLE
@click.option("--unit", default="", help="Förvaltning of a registrator (see `mailrouter units`).")
@PASSWORD_FILE
@config_option
def add(name: str, role: str, unit: str, password_file: Path | None, config_file: Path | None) -> None:
    """Add a user; the password is asked for."""
    from mailrouter.desk import auth  # noqa: PLC0415 (argon2 and the web are for the desk's commands only)

    settings, store = open_store(config_file)
    if unit and unit not in organisation.load(settings.classify.organisation).units:
        raise UserError(f"there is no förvaltning {unit!r}; `mailrouter units` lists them")
    password = _password(password_file)
    with store.write() as session:
        if session.exec(select(User).where(User.name == name)).first() is not None:
            raise UserError(f"there is a user {name} already")
        auth.create_user(session, name, password, Role(role), datetime.now(UTC), unit=unit)
    click.echo(f"User {name} ({role}) added.")


@user.command("list", epilog="Example: mailrouter user list")
@config_option
@json_option
def list_users(config_file: Path | None, as_json: bool) -> None:
    """List the users."""
    _, store = open_store(config_file)
    with store.read() as session:
        users = session.exec(select(User).order_by(col(User.name))).all()
        rows = [one.model_dump(include={"name", "role", "unit", "active", "created_at"}) for one in users]
    if as_json:
        echo_json(rows)
    else:
        echo_table(rows, ("name", "role", "unit", "active", "created_at"))


@user.command(epilog="Example: mailrouter user password anna")
@click.argument("name")
@PASSWORD_FILE
@config_option
def password(name: str, password_file: Path | None, config_file: Path | None) -> None:
    """Give a user a new password; logins that are open end."""
    from mailrouter.desk import auth  # noqa: PLC0415 (as above)

    _, store = open_store(config_file)
    new = _password(password_file)
    with store.write() as session:
        found = _find(session, name)
        found.password_hash = auth.hash_password(new)
        _log_out(session, found)
    click.echo(f"Password of {name} changed.")


@user.command(epilog="Example: mailrouter user disable anna")
@click.argument("name")
@config_option
def disable(name: str, config_file: Path | None) -> None:
    """Keep a user from logging in; what the user did stays in the history."""
    _, store = open_store(config_file)
    with store.write() as session:
        found = _find(session, name)
        found.active = False
        _log_out(session, found)
    click.echo(f"User {name} disabled.")


def _find(session: Session, name: str) -> User:
    found = session.exec(select(User).where(User.name == name)).first()
    if found is None:
        raise UserError(f"there is no user {name}")
    return found


def _log_out(session: Session, found: User) -> None:
    for login in session.exec(select(Login).where(Login.user_id == found.id)):
        session.delete(login)


COMMANDS: dict[str, click.Command] = {"user": user}
