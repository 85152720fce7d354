"""Commands that show cases: list, show, raw, proof, outbox."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from sqlmodel import Session, col, select

from mailrouter import diarium, evidence, forward, triage
from mailrouter.cli.common import config_option, echo_json, echo_table, json_option, open_store
from mailrouter.tables import Assignment, Case, CaseState, Disposition, Event, Mail, RawMail

COLUMNS = (
    "number",
    "state",
    "attention",
    "arrived_on",
    "answer_due",
    "sender",
    "sender_name",
    "subject",
    "subject_public",
    "kind",
    "district",
    "flags",
    "language",
    "wants_answer",
    "opened_at",
    "closed_at",
    "suggested_at",
    "last_event",
)
PART_COLUMNS = {"id", "unit", "area", "state", "external_number"}
CHUNK = 1000


@click.group()
def case() -> None:
    """Show and decide cases."""


@case.command("list", epilog="Example: mailrouter case list --state open --json")
@config_option
@json_option
@click.option("--state", type=click.Choice([state.value for state in CaseState]), help="Only cases in this state.")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many; all of them by default.")
def list_cases(config_file: Path | None, as_json: bool, state: str | None, limit: int | None) -> None:
    """List cases, newest first."""
    _, store = open_store(config_file)
    statement = select(Case).order_by(col(Case.id).desc()).limit(limit)
    if state:
        statement = statement.where(Case.state == CaseState(state))
    with store.read() as session:
        rows = summaries(session, session.exec(statement).all())
    if as_json:
        echo_json(rows)
    else:
        echo_table(rows, ("number", "state", "arrived_on", "answer_due", "unit", "probability", "sender", "subject"))


@case.command(epilog="Example: mailrouter case show 26-2223-G --json")
@click.argument("number")
@config_option
@json_option
def show(number: str, config_file: Path | None, as_json: bool) -> None:
    """Show one case: register row, mails, suggestion, parts, dispatches and history."""
    _, store = open_store(config_file)
    with store.read() as session:
        whole = _whole(session, diarium.find(session, number))
    if as_json:
        echo_json(whole)
        return
    for key in (
        "number",
        "state",
        "attention",
        "sender",
        "subject",
        "arrived_on",
        "answer_due",
        "kind",
        "flags",
        "unit",
    ):
        click.echo(f"{key:<12} {whole[key]}")
    click.echo(f"\n{whole['text']}\n")
    echo_table(whole["assignments"], ("id", "unit", "area", "state", "external_number", "answer_due"))
    click.echo()
    echo_table(whole["events"], ("at", "kind", "actor", "detail"))


@case.command(epilog="Example: mailrouter case raw 26-2223-G > complaint.eml")
@click.argument("number")
@config_option
def raw(number: str, config_file: Path | None) -> None:
    """Write the mail that opened the case to standard output, byte for byte as it came."""
    _, store = open_store(config_file)
    with store.read() as session:
        mail = triage.opening_mail(session, diarium.find(session, number).id)
        octets = session.get_one(RawMail, mail.id).octets
    sys.stdout.buffer.write(octets)


@case.command(epilog="Example: mailrouter case proof 26-2223-G --json")
@click.argument("number")
@config_option
@json_option
def proof(number: str, config_file: Path | None, as_json: bool) -> None:
    """Print the evidence of a case's mails.

    What was received and sent, with envelopes, checksums, every attempt in the server's words, how the
    connection was secured, and each delivery report that came back.
    """
    settings, store = open_store(config_file)
    with store.read() as session:
        found = evidence.of_case(session, diarium.find(session, number), settings)
    if as_json:
        echo_json(found)
        return
    click.echo(f"Case {found['number']}")
    for mail in found["received"]:
        click.echo(f"\nReceived mail {mail['mail']}")
        _lines(mail, "received_at", "source", "message_id", "envelope_sender", "size", "sha256", "nature")
    for sent in found["sent"]:
        click.echo(f"\nSent {sent['kind']} {sent['dispatch']}: {sent['state']}")
        _lines(sent, "recipient", "envelope_sender", "message_id", "size", "sha256", "carries", "carries_sha256")
        for attempt in sent["attempts"]:
            click.echo(f"  {attempt['started_at']}  {attempt['outcome']}  {attempt['reply']}  [{attempt['channel']}]")
        for report in sent["reports"]:
            click.echo(f"  report, mail {report['mail']}, {report['received_at']}, sha256 {report['sha256']}")
            for told in report["recipients"]:
                click.echo(f"    {' '.join(filter(None, told.values()))}")


def _lines(facts: dict[str, Any], *names: str) -> None:
    for name in names:
        if facts[name] not in (None, ""):
            click.echo(f"  {name:<16} {facts[name]}")


@click.command(epilog="Example: mailrouter outbox --json")
@config_option
@json_option
def outbox(config_file: Path | None, as_json: bool) -> None:
    """List outgoing mails with every attempt."""
    _, store = open_store(config_file)
    with store.read() as session:
        rows = forward.outbox(session)
    if as_json:
        echo_json(rows)
    else:
        said = [row | {"said": row["attempts"][-1]["reply"] if row["attempts"] else ""} for row in rows]
        echo_table(said, ("case", "kind", "recipient", "state", "due_at", "said"))


def summary(session: Session, found: Case) -> dict[str, Any]:
    """One case as flat data: the register's columns, the suggestion's first lines and the units that have it."""
    return summaries(session, [found])[0]


def summaries(session: Session, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """``summary`` of each case, with three questions to the database for every thousand of them."""
    return [row for start in range(0, len(cases), CHUNK) for row in _summaries(session, cases[start : start + CHUNK])]


def _summaries(session: Session, cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
    keys = [found.id for found in cases]
    opening = select(Mail).where(col(Mail.case_id).in_(keys), Mail.disposition == Disposition.CASE)
    mails = {mail.case_id: mail for mail in session.exec(opening)}
    parts: dict[int, list[dict[str, Any]]] = {}
    for part in session.exec(select(Assignment).where(col(Assignment.case_id).in_(keys)).order_by(col(Assignment.id))):
        parts.setdefault(part.case_id, []).append(part.model_dump(include=PART_COLUMNS))
    for found in cases:
        suggestion, mail = found.suggestion or {}, mails[found.id]
        yield {column: getattr(found, column) for column in COLUMNS} | {
            "source": mail.source,
            "source_key": mail.source_key,
            "message_id": mail.message_id,
            "area": suggestion.get("area"),
            "unit": suggestion.get("unit"),
            "probability": suggestion.get("probability"),
            "abstain": suggestion.get("abstain"),
            "assignments": parts.get(found.id, []),
        }


def _whole(session: Session, found: Case) -> dict[str, Any]:
    """Everything about one case, except octets."""
    mails = session.exec(select(Mail).where(Mail.case_id == found.id).order_by(col(Mail.id))).all()
    events = session.exec(select(Event).where(Event.case_id == found.id).order_by(col(Event.sequence))).all()
    return summary(session, found) | {
        "suggestion": found.suggestion,
        "text": triage.opening_mail(session, found.id).text,
        "mails": [mail.model_dump(exclude={"leased_until", "leased_by", "attempts", "due_at"}) for mail in mails],
        "assignments": [part.model_dump() for part in triage.assignments(session, found.id)],
        "dispatches": forward.outbox(session, found.id),
        "events": [event.model_dump(exclude={"id", "case_id"}) for event in events],
    }
