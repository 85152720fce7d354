"""Commands on the desk's accounts: user add, change, list, password, disable, enable, logout."""

from datetime import UTC, datetime
from pathlib import Path

import click
from sqlmodel import col, select

from mailrouter import organisation
from mailrouter.cli.common import config_option, echo_json, echo_table, json_option, open_store
from mailrouter.config import Settings
from mailrouter.tables import Restriction, Role, User

COLUMNS = ("name", "role", "unit", "clearances", "active", "created_at")
ROLES = click.Choice([role.value for role in Role])
CLEARANCE = click.option(
    "--clearance",
    "clearances",
    multiple=True,
    type=click.Choice([*(restriction.value for restriction in Restriction), "none"]),
    help="Restricted cases the user may see; may be given several times. Nobody sees any without it.",
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


def _refuse_unknown(unit: str, settings: Settings) -> None:
    if unit and unit not in organisation.load(settings.classify.organisation).units:
        raise UserError(f"there is no förvaltning {unit!r}; `mailrouter units` lists them")


def _named(clearances: tuple[str, ...]) -> list[str]:
    return [clearance for clearance in clearances if clearance != "none"]


@user.command(epilog="Example: mailrouter user add anna --role servicevagledare --clearance skyddad")
@click.argument("name")
@click.option(
    "--role", type=ROLES, default=Role.SERVICEVAGLEDARE.value, show_default=True, help="What the user may do."
)
@click.option("--unit", default="", help="Förvaltning of a registrator (see `mailrouter units`).")
@CLEARANCE
@PASSWORD_FILE
@config_option
def add(
    name: str,
    role: str,
    unit: str,
    clearances: tuple[str, ...],
    password_file: Path | None,
    config_file: Path | None,
) -> None:
    """Add a user; the password is asked for."""
    from mailrouter.desk import auth  # noqa: PLC0415 (argon2 and the web are for the desk's commands only)

    settings, store = open_store(config_file)
    _refuse_unknown(unit, settings)
    password = _password(password_file)
    with store.write() as session:
        named = _named(clearances)
        auth.create_user(session, name, password, Role(role), datetime.now(UTC), unit=unit, clearances=named)
    click.echo(f"User {name} ({role}) added.")


@user.command(epilog="Example: mailrouter user change anna --clearance skyddad --clearance orosanmalan")
@click.argument("name")
@click.option("--role", type=ROLES, help="What the user may do from now on.")
@click.option("--unit", help="Förvaltning of a registrator (see `mailrouter units`).")
@CLEARANCE
@config_option
def change(
    name: str, role: str | None, unit: str | None, clearances: tuple[str, ...], config_file: Path | None
) -> None:
    """Change what a user may do and see; what is not named stays. `--clearance none` takes all away."""
    from mailrouter.desk import auth  # noqa: PLC0415 (as above)

    settings, store = open_store(config_file)
    _refuse_unknown(unit or "", settings)
    with store.write() as session:
        found = auth.find_user(session, name)
        auth.allow(
            found,
            role=Role(role) if role else found.role,
            unit=found.unit if unit is None else unit,
            clearances=_named(clearances) if clearances else found.clearances,
        )
    click.echo(f"User {name} changed.")


@user.command("list", epilog="Example: mailrouter user list")
@config_option
@json_option
def list_users(config_file: Path | None, as_json: bool) -> None:
    """List the users."""
    _, store = open_store(config_file)
    with store.read() as session:
        rows = [one.model_dump(include=set(COLUMNS)) for one in session.exec(select(User).order_by(col(User.name)))]
    if as_json:
        echo_json(rows)
    else:
        echo_table(rows, COLUMNS)


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
        auth.change_password(session, auth.find_user(session, name), new)
    click.echo(f"Password of {name} changed.")


@user.command(epilog="Example: mailrouter user disable anna")
@click.argument("name")
@config_option
def disable(name: str, config_file: Path | None) -> None:
    """Keep a user from logging in; logins that are open end. What the user did stays in the history."""
    _set_active(name, config_file, active=False)
    click.echo(f"User {name} disabled.")


@user.command(epilog="Example: mailrouter user enable anna")
@click.argument("name")
@config_option
def enable(name: str, config_file: Path | None) -> None:
    """Let a user who was disabled log in again."""
    _set_active(name, config_file, active=True)
    click.echo(f"User {name} enabled.")


def _set_active(name: str, config_file: Path | None, *, active: bool) -> None:
    from mailrouter.desk import auth  # noqa: PLC0415 (as above)

    _, store = open_store(config_file)
    with store.write() as session:
        auth.set_active(session, auth.find_user(session, name), active=active)


@user.command(epilog="Example: mailrouter user logout anna")
@click.argument("name")
@config_option
def logout(name: str, config_file: Path | None) -> None:
    """End every login of a user, as when a computer is lost."""
    from mailrouter.desk import auth  # noqa: PLC0415 (as above)

    _, store = open_store(config_file)
    with store.write() as session:
        auth.end_logins(session, auth.find_user(session, name))
    click.echo(f"Logins of {name} ended.")


COMMANDS: dict[str, click.Command] = {"user": user}
