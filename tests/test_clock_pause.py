"""Pauses, and answer dates worked out anew, on both databases."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlmodel import select

from mailrouter import cli, config, deadlines, organisation, triage
from mailrouter.deadlines import ClockError
from mailrouter.diarium import EventKind, StaleError, broken_links
from mailrouter.organisation import Clock, Organisation
from mailrouter.store import Store
from mailrouter.tables import Assignment, AssignmentState, Case, Event
from tests.mails import octets
from tests.register import take_and_read
from tests.test_deadlines import DUE, SETTINGS, delivered, local, mails, only_case, only_part

CITY = organisation.load(Path(SETTINGS.classify.organisation))
PAUSED = local(date(2026, 3, 10), 9)


def stop(db: Store, part: Assignment, *, seen: int | None = None, reason: str = "Väntar på medborgaren.") -> None:
    """Pause a part."""
    with db.write() as session:
        deadlines.pause(
            session, part.case_id, part.id, reason=reason, seen=seen, actor="maria", now=PAUSED,
            settings=SETTINGS, organisation=CITY,
        )  # fmt: skip


def test_a_pause_moves_the_date(db: Store) -> None:
    """While it lasts nobody is reminded; afterwards both dates have moved by its days, and the ladder with them."""
    with db.write() as session:
        part = delivered(session)
    stop(db, part)
    deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 31)), organisation=CITY)
    assert mails(db) == []
    with db.write() as session:
        deadlines.resume(
            session, part.case_id, part.id, seen=None, actor="maria", now=local(date(2026, 4, 1), 17),
            settings=SETTINGS, organisation=CITY,
        )  # fmt: skip
    assert only_part(db).answer_due == DUE + timedelta(days=22) == only_case(db).answer_due
    assert only_part(db).due_at == local(date(2026, 4, 14))
    assert deadlines.recompute(db, SETTINGS, PAUSED, organisation=CITY, dry_run=True) == []
    with db.read() as session:
        events = session.exec(select(Event)).all()
        last = events[-1]
        assert (last.kind, last.detail["days"], last.detail["answer_due"]) == (EventKind.RESUMED, 22, "2026-04-21")
        assert broken_links(only_case(db).number, last.sequence, last.hash, events) == []


def test_a_long_pause_is_not_forgotten(db: Store) -> None:
    """After four weeks the desk is asked whether the reason still holds, and after eight again."""
    with db.write() as session:
        part = delivered(session)
    stop(db, part)
    assert only_part(db).due_at == local(date(2026, 4, 7))
    deadlines.remind_due(db, SETTINGS, local(date(2026, 4, 7)), organisation=CITY)
    assert "är pausad sedan tisdag 10 mars 2026: Väntar på medborgaren. Gäller det än?" in only_case(db).attention
    assert only_part(db).due_at == local(date(2026, 5, 5))


def test_what_cannot_be_paused(db: Store) -> None:
    """Not without a reason, not twice, not what is answered, not on an old page; nothing runs on that did not stop."""
    with db.write() as session:
        part = delivered(session)
        over = delivered(session, state=AssignmentState.ANSWERED)
    with pytest.raises(ClockError, match="what is waited for"):
        stop(db, part, reason=" ")
    with pytest.raises(ClockError, match="no clock runs"):
        stop(db, over)
    with pytest.raises(StaleError):
        stop(db, part, seen=1)
    stop(db, part)
    with pytest.raises(ClockError, match="stopped already"):
        stop(db, part)
    with pytest.raises(ClockError, match="is not stopped"), db.write() as session:
        deadlines.resume(
            session, over.case_id, over.id, seen=None, actor="maria", now=PAUSED, settings=SETTINGS, organisation=CITY
        )


def test_what_is_paused_can_be_answered(db: Store) -> None:
    """An answer ends a paused part like any other."""
    with db.write() as session:
        part = delivered(session)
    stop(db, part)
    with db.write() as session:
        triage.answered(session, part.case_id, part.id, seen=None, actor="maria", now=PAUSED)
    assert (only_case(db).state, only_part(db).due_at) == ("answered", None)


@pytest.fixture
def stricter() -> Organisation:
    """The city, in which one unit has two weeks only."""
    unit = replace(CITY.units["stadsmiljoforvaltningen"], clock=Clock(weeks=2))
    return replace(CITY, units={**CITY.units, unit.id: unit})


def test_a_new_rule_moves_dates(db: Store, stricter: Organisation) -> None:
    """A dry run tells and changes nothing; then the date moves with an event, and a second run finds nothing."""
    with db.write() as session:
        delivered(session)
        delivered(session, "exploateringsforvaltningen", "expl@stad.example")
    deadlines.remind_due(db, SETTINGS, PAUSED, organisation=CITY)
    for dry_run in (True, True, False):
        (move,) = deadlines.recompute(db, SETTINGS, PAUSED, organisation=stricter, dry_run=dry_run)
        assert (move.unit, move.before, move.after) == ("stadsmiljoforvaltningen", DUE, date(2026, 3, 16))
    assert deadlines.recompute(db, SETTINGS, PAUSED, organisation=stricter, dry_run=False) == []
    with db.read() as session:
        moved = session.exec(select(Event).where(Event.kind == EventKind.RESCHEDULED)).one()
        part = session.exec(select(Assignment).where(Assignment.case_id == moved.case_id)).one()
        assert moved.detail["moved"][0]["answer_due"] == "2026-03-16" == part.answer_due.isoformat()
        assert part.due_at == local(date(2026, 3, 13))  # the step seven days before is past and stays so


def test_the_citizens_date_follows_the_settings(db: Store) -> None:
    """Five weeks instead of four move the case's own date as well as the part's."""
    with db.write() as session:
        delivered(session)
    longer = config.Settings(deadline=config.Deadline(weeks=5))
    moves = deadlines.recompute(db, longer, PAUSED, organisation=CITY, dry_run=False)
    assert [(move.unit, move.after) for move in moves] == [
        ("stadsmiljoforvaltningen", date(2026, 4, 7)), ("", date(2026, 4, 7))
    ]  # fmt: skip
    assert only_case(db).answer_due == date(2026, 4, 7)


def test_the_commands(db: Store, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`case pause` and `case resume` work on a part, `deadlines recompute` says what moves."""
    monkeypatch.setenv("MAILROUTER_STORE__URL", store_url)
    (taken,) = take_and_read(db, octets())
    with db.write() as session:
        choice = triage.Choice("stadsmiljoforvaltningen")
        triage.confirm(
            session, taken.case_id, [choice], seen=None, actor="maria", now=PAUSED, organisation=CITY, settings=SETTINGS
        )
        part = session.exec(select(Assignment)).one()
        part.answer_due = DUE + timedelta(days=1)
        number = session.get_one(Case, part.case_id).number
    runner = CliRunner()
    part_of = [number, "--part", str(part.id), "--as", "maria"]
    assert runner.invoke(cli.commands, ["case", "pause", *part_of, "--reason", "domstol"]).exit_code == 0
    assert only_part(db).pause_reason == "domstol"
    assert runner.invoke(cli.commands, ["case", "resume", *part_of]).exit_code == 0
    shown = runner.invoke(cli.commands, ["deadlines", "recompute", "--dry-run"])
    assert "2026-03-31  2026-03-30" in shown.output
    assert runner.invoke(cli.commands, ["deadlines", "recompute", "--json"]).exit_code == 0
    assert runner.invoke(cli.commands, ["deadlines", "recompute"]).output == "No date moves.\n"
