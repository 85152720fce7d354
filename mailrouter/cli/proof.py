"""Commands that prove the register: reconcile, verify."""

import sys
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from mailrouter import seal
from mailrouter.cli.common import config_option, echo_json, echo_table, json_option, open_store
from mailrouter.reports import reconcile as reconciling


@click.command(epilog="Example: mailrouter reconcile --json")
@config_option
@json_option
def reconcile(config_file: Path | None, as_json: bool) -> None:
    """Show that no mail is lost.

    Compares what the doors acknowledged with what is registered, per source; exit 1 if a mail is unaccounted for.
    """
    _, store = open_store(config_file)
    with store.read() as session:
        result = reconciling.reconcile(session)
    if as_json:
        echo_json(result)
    else:
        columns = ("source", "received", "cases", "joined", "duplicates", "quarantined")
        echo_table([*result["sources"], result | {"source": "total"}], columns)
        verdict = "holds" if result["balanced"] else "is BROKEN"
        click.echo(f"received = cases + joined + duplicates + quarantined {verdict}")
    if not result["balanced"]:
        raise SystemExit(1)


@click.command(epilog="Example: mailrouter verify")
@config_option
@json_option
@click.option("--seal", "seal_now", is_flag=True, help="Seal the newest events first (done nightly by itself).")
def verify(config_file: Path | None, as_json: bool, seal_now: bool) -> None:
    """Show that history is unchanged.

    Checks every case's chain of events, the anchors, and the octets of every mail; exit 1 on any fault.
    """
    _, store = open_store(config_file)
    if seal_now:
        with store.write() as session:
            seal.anchor(session, datetime.now(UTC))
    shown = sys.stderr.isatty() and not as_json
    bar = click.progressbar(length=1, label="Verifying", file=sys.stderr) if shown else nullcontext()
    with bar as progress:

        def tell(done: int, total: int) -> None:
            if progress is not None:
                progress.length = total
                progress.update(done - progress.pos)

        proof = seal.verify(store, tell)
    if as_json:
        echo_json(asdict(proof) | {"holds": not proof.faults})
    else:
        for fault in proof.faults:
            click.echo(fault, err=True)
        click.echo(
            f"{proof.cases} cases, {proof.events} events, {proof.mails} mails, {proof.anchors} anchors: "
            + ("all hold" if not proof.faults else f"{len(proof.faults)} faults")
        )
    if proof.faults:
        raise SystemExit(1)


COMMANDS: dict[str, click.Command] = {"reconcile": reconcile, "verify": verify}
