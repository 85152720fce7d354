"""Commands on the programs that may use the JSON API: client add, list, disable."""

from datetime import UTC, datetime
from pathlib import Path

import click

from mailrouter import organisation
from mailrouter.cli.common import config_option, echo_json, echo_table, json_option, open_store
from mailrouter.tables import Restriction

SCOPES = ("read", "sort", "settle")


class ClientError(Exception):
    """What was asked of a client cannot be done; the message says why."""


@click.group()
def client() -> None:
    """Programs that may use the JSON API (docs/api.md)."""


@client.command(
    epilog="Example: mailrouter client add platina-miljo --scope read --scope settle --unit miljoforvaltningen"
)
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="What the program may do."
)
@click.option("--unit", default="", help="Only cases that this unit has or had (see `mailrouter units`).")
@click.option(
    "--clearance",
    "clearances",
    multiple=True,
    type=click.Choice([restriction.value for restriction in Restriction]),
    help="Restricted cases the program may see; none without it.",
)
@config_option
def add(name: str, scopes: tuple[str, ...], unit: str, clearances: tuple[str, ...], config_file: Path | None) -> None:
    """Add a program and print its token, which is shown this once."""
    from mailrouter.desk.api import clients  # noqa: PLC0415 (the web is for the desk's commands only)

    settings, store = open_store(config_file)
    if unit and unit not in organisation.load(settings.classify.organisation).units:
        raise ClientError(f"there is no förvaltning {unit!r}; `mailrouter units` lists them")
    with store.write() as session:
        token = clients.create(session, name, scopes, datetime.now(UTC), unit=unit, clearances=clearances)
    click.echo(token)
    click.echo(f"Client {name} added. Keep the token above: it is not shown again.", err=True)


@client.command("list", epilog="Example: mailrouter client list")
@config_option
@json_option
def list_clients(config_file: Path | None, as_json: bool) -> None:
    """List the programs, and when each was here last."""
    from mailrouter.desk.api import clients  # noqa: PLC0415 (as above)

    _, store = open_store(config_file)
    with store.read() as session:
        rows = clients.listed(session)
    if as_json:
        echo_json(rows)
    else:
        echo_table(rows, ("name", "scopes", "unit", "active", "last_used_at"))


@client.command(epilog="Example: mailrouter client disable platina-miljo")
@click.argument("name")
@config_option
def disable(name: str, config_file: Path | None) -> None:
    """Let a program in no more; what it did stays in the history."""
    from mailrouter.desk.api import clients  # noqa: PLC0415 (as above)

    _, store = open_store(config_file)
    with store.write() as session:
        clients.disable(session, name)
    click.echo(f"Client {name} disabled.")


COMMANDS: dict[str, click.Command] = {"client": client}
