"""The command that judges old mail before going live: replay."""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click

from mailrouter import organisation, replay
from mailrouter.cli.common import config_option, echo_json, json_option, load
from mailrouter.replay import Source, Tally, truth

INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


@click.command(
    "replay",
    epilog="Examples: mailrouter replay archive.mbox --truth facit.csv    mailrouter replay imap:kontaktcenter/INBOX",
)
@click.argument("source")
@click.option(
    "--truth",
    "truth_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with message_id, filename or number, and unit or area or both: the true answers.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("replay.html"),
    show_default=True,
    help="The page; the figures go into a .json file beside it.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=min(os.cpu_count() or 1, 8),
    show_default=True,
    help="How many judge.",
)
@config_option
@json_option
def run_replay(
    source: str, truth_file: Path | None, output: Path, processes: int, config_file: Path | None, as_json: bool
) -> None:
    """Judge old mail and report how right it would have been.

    SOURCE is an mbox, a Maildir, a folder of .eml files, or imap:ACCOUNT/FOLDER of the configuration. Nothing is
    written but the report, and no mail is marked as read. Ctrl-C ends it with what was done.
    """
    settings = load(config_file)
    now = datetime.now(UTC)
    on = now.date()
    city = organisation.load(settings.classify.organisation)
    known = truth.read(truth_file, city, on) if truth_file else None
    _refuse_unwritable(output)
    with replay.opened(source, settings) as opened, _interruptible() as stopping, _bar(opened.total) as bar:
        tally = replay.replay(
            opened, settings, on=on, truth=known, processes=processes, stopping=stopping.is_set, progress=bar.update
        )
    _write(output, tally, opened, settings.city.name, settings.city.timezone, now)
    if as_json:
        echo_json(tally.as_json())
    else:
        _echo_summary(tally, output)
    if stopping.is_set():
        sys.exit(INTERRUPTED)


def _refuse_unwritable(output: Path) -> None:
    """An hour's work must not end with a folder that is not there."""
    folder = output.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise click.BadParameter(f"{folder} is not a folder that can be written to", param_hint="--output")


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C asks to end; a second one ends at once."""
    stopping = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)


class _NoBar:
    def update(self, _steps: int) -> None:
        """Say nothing."""


def _bar(total: int) -> AbstractContextManager[Any]:
    """A progress bar where somebody looks."""
    if not sys.stderr.isatty():
        return nullcontext(_NoBar())
    return click.progressbar(length=total, label="Judging", file=sys.stderr, show_pos=False)


def _write(output: Path, tally: Tally, source: Source, city: str, zone: str, now: datetime) -> None:
    from mailrouter.replay.page import page  # noqa: PLC0415 (the desk's words, only when there is something to say)

    output.write_text(page(tally, source, city=city, zone=zone, now=now), encoding="utf-8")
    figures = {"source": f"{source.kind}: {source.name}", "at": now.isoformat(timespec="seconds")} | tally.as_json()
    output.with_suffix(".json").write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _echo_summary(tally: Tally, output: Path) -> None:
    click.echo(f"{tally.total} mails: {tally.humans} by people, {tally.robots} by programs, {tally.faults} unreadable")
    share = tally.sure / tally.humans if tally.humans else 0.0
    click.echo(f"sure of {tally.sure} ({share:.1%} of those by people)")
    if tally.with_truth:
        named = {"unit": tally.unit_first, "unit among three": tally.unit_three, "unit of the sure": tally.unit_sure}
        for name, hits in (named | {"area": tally.area_first, "area among three": tally.area_three}).items():
            click.echo(f"{name}: {hits.share:.1%} right of {hits.of}" if hits.of else f"{name}: not told")
    if tally.broken_off:
        click.echo(f"broken off: {tally.broken_off}")
    click.echo(f"Page: {output}    Figures: {output.with_suffix('.json')}")


COMMANDS: dict[str, click.Command] = {"replay": run_replay}
