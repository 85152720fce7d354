"""The command that works the answer dates out anew."""

from datetime import UTC, datetime
from pathlib import Path

import click

from mailrouter import organisation
from mailrouter.cli.common import config_option, echo_json, echo_table, json_option, open_store


@click.group()
def deadlines() -> None:
    """Answer dates: four weeks from the arrival, the units' own rules, pauses."""


@deadlines.command(epilog="Example: mailrouter deadlines recompute --dry-run")
@click.option("--dry-run", is_flag=True, help="Only show what would move.")
@config_option
@json_option
def recompute(dry_run: bool, config_file: Path | None, as_json: bool) -> None:
    """Work the dates out anew, after the calendar, the settings or a unit's clock has changed."""
    from mailrouter.deadlines import recompute as work_out  # noqa: PLC0415 (loaded by this command alone)

    settings, store = open_store(config_file)
    city = organisation.load(settings.classify.organisation)
    moves = work_out(store, settings, datetime.now(UTC), organisation=city, dry_run=dry_run)
    rows = [
        {"case": move.number, "unit": move.unit or "(citizen)", "before": move.before, "after": move.after}
        for move in moves
    ]
    if as_json:
        echo_json(rows)
    elif rows:
        echo_table(rows, ("case", "unit", "before", "after"))
    else:
        click.echo("No date moves.")


COMMANDS: dict[str, click.Command] = {"deadlines": deadlines}
