"""Commands that decide a case: everything the desk offers, in one transaction each."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import click
from sqlmodel import Session

from mailrouter import answers, deadlines, diarium, organisation, triage, undo
from mailrouter.cli.cases import case, outbox, summary
from mailrouter.cli.common import config_option, echo_json, json_option, open_store
from mailrouter.config import Settings
from mailrouter.tables import Case
from mailrouter.triage import Choice, CloseReason

PART = click.option("--part", required=True, type=int, help="Id of the förvaltning's part (`case show`).")


@dataclass(frozen=True, slots=True)
class Decision:
    """What every decision needs: the case, and who decides when, having seen what."""

    session: Session
    settings: Settings
    case_id: int
    suggestion: dict[str, Any]
    who: dict[str, Any]  # seen, actor and now, as triage's functions take them


Decide = Callable[..., Case]


def decision(name: str, example: str) -> Callable[[Decide], click.Command]:
    """A command ``case NAME NUMBER`` that runs ``decide(Decision, **options)`` in one transaction."""

    def decorate(decide: Decide) -> click.Command:
        def run(
            number: str, actor: str, seen: int | None, config_file: Path | None, as_json: bool, **options: Any
        ) -> None:
            settings, store = open_store(config_file)
            with store.write() as session:
                found = diarium.find(session, number)
                who = {"seen": seen, "actor": actor, "now": datetime.now(UTC)}
                decided = decide(Decision(session, settings, found.id, found.suggestion or {}, who), **options)
                session.flush()
                result = summary(session, decided)
            if as_json:
                echo_json(result)
            else:
                click.echo(f"{result['number']}: {result['state']}")

        run.__doc__ = decide.__doc__
        run.__dict__.update(decide.__dict__)  # the options that click noted on it
        command = case.command(name, epilog=f"Example: mailrouter case {example}")
        return command(_number(_actor(_seen(config_option(json_option(run))))))

    return decorate


def _number(command: Callable[..., None]) -> Callable[..., None]:
    return click.argument("number")(command)


def _actor(command: Callable[..., None]) -> Callable[..., None]:
    default = os.environ.get("MAILROUTER_ACTOR") or os.environ.get("USER") or "cli"
    text = "Who decides; kept in the history. Default: $MAILROUTER_ACTOR or the user's name."
    return click.option("--as", "actor", default=default, help=text)(command)


def _seen(command: Callable[..., None]) -> Callable[..., None]:
    text = "last_event as you saw it (`case show --json`); refused if somebody decided since."
    return click.option("--seen", type=int, help=text)(command)


@decision("confirm", "confirm 26-2223-G --unit kretslopp-och-vatten")
@click.option("--unit", "units", multiple=True, help="Förvaltning (see `mailrouter units`); repeat it to split.")
@click.option("--area", default="", help="Area id, when it is not the suggested one; with one --unit.")
def confirm(on: Decision, units: tuple[str, ...], area: str) -> Case:
    """Send a case to its förvaltning: the suggested one, or those named."""
    choices = [Choice(unit, area if len(units) == 1 else "") for unit in units] or [_suggested(on)]
    city = organisation.load(on.settings.classify.organisation)
    return triage.confirm(on.session, on.case_id, choices, organisation=city, settings=on.settings, **on.who)


def _suggested(on: Decision) -> Choice:
    unit = on.suggestion.get("unit")
    if not unit:
        raise triage.TriageError("the case has no suggested förvaltning; name one with --unit")
    return Choice(str(unit), str(on.suggestion.get("area") or ""))


@decision("close", "close 26-2223-G --reason ej-arende --note reklam")
@click.option("--reason", required=True, type=click.Choice([reason.value for reason in CloseReason]), help="Why.")
@click.option("--note", default="", help="A few words for the history.")
def close(on: Decision, reason: str, note: str) -> Case:
    """End a case without a forward: answered directly, referred elsewhere, or not a case."""
    return triage.close(on.session, on.case_id, CloseReason(reason), note=note, **on.who)


@decision("undo", "undo 26-2223-G")
def undo_last(on: Decision) -> Case:
    """Take the last decision back, while nothing of it has left."""
    within = timedelta(seconds=on.settings.desk.undo_seconds)
    return undo.take_back(on.session, on.case_id, within=within, **on.who)


@decision("release", "release 26-2223-G")
def release(on: Decision) -> Case:
    """Take a case out of quarantine and have its mail read again."""
    return triage.release(on.session, on.case_id, **on.who)


@decision("return", 'return 26-2223-G --part 1 --reason "gäller enskild väg"')
@PART
@click.option("--reason", required=True, help="Why it is the wrong förvaltning.")
def give_back(on: Decision, part: int, reason: str) -> Case:
    """Fel förvaltning: bring a förvaltning's part back to the desk."""
    return triage.give_back(on.session, on.case_id, part, reason=reason, **on.who)


@decision("answered", "answered 26-2223-G --part 1")
@PART
def answered(on: Decision, part: int) -> Case:
    """Note that a förvaltning has answered the citizen."""
    return triage.answered(on.session, on.case_id, part, **on.who)


@decision("diarienummer", "diarienummer 26-2223-G SMF-2026-01234 --part 1")
@click.argument("value")
@PART
def diarienummer(on: Decision, value: str, part: int) -> Case:
    """Keep the diarienummer under which a förvaltning registered its part."""
    return triage.set_diarienummer(on.session, on.case_id, part, value, **on.who)


@decision("pause", 'pause 26-2223-G --part 1 --reason "väntar på medborgaren"')
@PART
@click.option("--reason", required=True, help="What is waited for.")
def pause(on: Decision, part: int, reason: str) -> Case:
    """Stop the answer clock of a förvaltning's part; nobody is reminded meanwhile."""
    city = organisation.load(on.settings.classify.organisation)
    return deadlines.pause(
        on.session, on.case_id, part, reason=reason, settings=on.settings, organisation=city, **on.who
    )


@decision("resume", "resume 26-2223-G --part 1")
@PART
def resume(on: Decision, part: int) -> Case:
    """Let the answer clock of a part run on; the answer date moves by the days it stood still."""
    city = organisation.load(on.settings.classify.organisation)
    return deadlines.resume(on.session, on.case_id, part, settings=on.settings, organisation=city, **on.who)


@decision("tell", "tell 26-2223-G --text besked.txt")
@click.option(
    "--text", "file", required=True, type=click.File(encoding="utf-8"), help="File with the text; - is stdin."
)
def tell(on: Decision, file: TextIO) -> Case:
    """Write to the citizen, as of a delay; the case stays as it is."""
    return answers.tell(on.session, on.case_id, file.read(), **on.who)


@decision("noted", "noted 26-2223-G")
def noted(on: Decision) -> Case:
    """Say that you have read why a case asks for attention."""
    return triage.noted(on.session, on.case_id, **on.who)


@decision("reopen", 'reopen 26-2223-G --reason "nya uppgifter"')
@click.option("--reason", default="", help="Why it is taken up again.")
def reopen(on: Decision, reason: str) -> Case:
    """Take a closed or answered case up again."""
    return triage.reopen(on.session, on.case_id, reason=reason, **on.who)


COMMANDS: dict[str, click.Command] = {"case": case, "outbox": outbox}
