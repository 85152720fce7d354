"""Commands on webhooks, which tell other systems of events: webhook add, list, remove."""

from datetime import UTC, datetime
from pathlib import Path

import click

from mailrouter import webhooks
from mailrouter.cli.common import config_option, echo_json, echo_table, json_option, open_store


@click.group()
def webhook() -> None:
    """Addresses that are told of events (docs/api.md)."""


@webhook.command(
    epilog="Example: mailrouter webhook add platina https://platina.example/mailrouter --kind confirmed --kind answered"
)
@click.argument("name")
@click.argument("url")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice([kind.value for kind in webhooks.KINDS]),
    help="Only events of this kind; may be given several times. All of them by default.",
)
@config_option
def add(name: str, url: str, kinds: tuple[str, ...], config_file: Path | None) -> None:
    """Tell URL of events from now on, and print the secret that signs them."""
    _, store = open_store(config_file)
    with store.write() as session:
        secret = webhooks.add(session, name, url, kinds, datetime.now(UTC))
    click.echo(secret)
    click.echo(f"Webhook {name} added. The receiver needs the secret above; it is not shown again.", err=True)


@webhook.command("list", epilog="Example: mailrouter webhook list")
@config_option
@json_option
def list_webhooks(config_file: Path | None, as_json: bool) -> None:
    """List the webhooks, and how the last try went."""
    _, store = open_store(config_file)
    with store.read() as session:
        rows = webhooks.listed(session)
    if as_json:
        echo_json(rows)
    else:
        echo_table(rows, ("name", "url", "kinds", "last_event_id", "last_status"))


@webhook.command(epilog="Example: mailrouter webhook remove platina")
@click.argument("name")
@config_option
def remove(name: str, config_file: Path | None) -> None:
    """Tell an address nothing more."""
    _, store = open_store(config_file)
    with store.write() as session:
        webhooks.remove(session, name)
    click.echo(f"Webhook {name} removed.")


COMMANDS: dict[str, click.Command] = {"webhook": webhook}
