"""A simulated year: cases go through the real functions, from the door to the answer, and time is an argument.

``Year.run`` takes mails in, has them read, decides them, sends them to mailboxes in memory, lets registrators answer
by mail, and lets the clock tick, with holidays, two changes of the hour, three days in which nothing runs and two in
which the smarthost is away. At every tick it asks the pure ladder what is to be told, and at the end it holds what
was told against that. ``tests/test_year.py`` and ``python -m bench.year`` run it.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from functools import cached_property
from typing import Any

from sqlmodel import Session, col, select

from mailrouter import deadlines, diarium, forward, ingest, organisation, reading, triage
from mailrouter.classify.values import Candidate, Query, Verdict
from mailrouter.config import Settings
from mailrouter.deadlines import Office, ladder
from mailrouter.deadlines.ladder import Step
from mailrouter.organisation import Clock, Organisation
from mailrouter.reports import reconcile
from mailrouter.smarthost import Later, Never, Outcome, Sent
from mailrouter.store import Store
from mailrouter.tables import Assignment, Case, CaseState, Dispatch, Event

AFTERWARDS = 80  # days without new cases, in which what began comes to its end
NOTHING_RUNS = {date(2026, 9, 8) + timedelta(days=count) for count in range(3)}
SMARTHOST_AWAY = {date(2026, 5, 19) + timedelta(days=count) for count in range(2)}
SILENT = "idrotts-och-foreningsforvaltningen"  # the unit that never answers
UNITS = ("stadsmiljoforvaltningen", "grundskoleforvaltningen", "exploateringsforvaltningen")
HEAD = "direktoren@stad.example"  # of two units
FATES = {  # and how many of a hundred cases have it
    "answered": 30, "numbered": 20, "late": 10, "returned": 9, "refused": 6, "paused": 8, "closed": 7,
    "forgotten": 5, "silent": 5,
}  # fmt: skip
ORDINARY = ("klagomal", "fraga", "felanmalan", "berom")
URGENT = ("begaran-handling", "overklagande", "orosanmalan")  # one in ten


def city(settings: Settings) -> Organisation:
    """The city, with a head of two units, one of the silent one, and a unit with a clock of its own."""
    known = organisation.load(settings.classify.organisation)
    changed: dict[str, dict[str, Any]] = {
        "stadsmiljoforvaltningen": {"head": HEAD},
        "exploateringsforvaltningen": {"head": HEAD},
        SILENT: {"head": "idrottschefen@stad.example"},
        "grundskoleforvaltningen": {"clock": Clock(weeks=3, remind_days_before=(5, 1))},
    }
    units = {key: replace(unit, **changed.get(key, {})) for key, unit in known.units.items()}
    return replace(known, units=units)


@dataclass(slots=True)
class Plan:
    """What will become of a case."""

    arrives: datetime
    fate: str
    kind: str
    units: list[str]  # who gets it first, and who afterwards if it comes back
    decided_after: timedelta
    answered_after: timedelta
    case_id: int = 0


@dataclass(slots=True)
class Mailboxes:
    """A smarthost that keeps what it is given; it may be away, and refuses the first forward of some cases."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    away: bool = False
    refusing: set[str] = field(default_factory=set)  # case numbers
    delivered: list[tuple[datetime, str, str, str, str]] = field(default_factory=list)

    def send(
        self,
        envelope_sender: str,
        recipient: str,
        octets: bytes,
        *,
        outside: bool = False,
        secure: bool = False,
        envelope_id: str = "",
        confirm: bool = False,
    ) -> Outcome:
        """Keep the moment, the recipient, what kind of mail it is, its case and where answers go."""
        if self.away:
            return Later("421 borta")
        head = BytesHeaderParser().parsebytes(octets)
        kind, number = str(head["X-Mailrouter-Dispatch"] or ""), str(head["X-Mailrouter-Case"] or "")
        if kind == "forward" and number in self.refusing:
            self.refusing.remove(number)
            return Never("550 nej")
        if not outside:
            self.delivered.append((self.now, recipient, kind, number, envelope_sender))
        return Sent("250 tack")

    def close(self) -> None:
        """Nothing is open."""


class Judge:
    """Suggests what the subject says: a kind, and the first unit."""

    def classify(self, queries: Sequence[Query], on: date) -> list[Verdict]:
        """One verdict a query."""
        return [self._verdict(query.subject.split()) for query in queries]

    def _verdict(self, words: list[str]) -> Verdict:
        candidates = (Candidate("cykel", words[-1], 0.9),)
        return Verdict(candidates, words[-2], None, (), "sv", (), abstain=False, by="year")


@dataclass(frozen=True, slots=True)
class Letter:
    """What a registrator will write."""

    at: datetime
    sender: str
    to: str
    text: str
    automatic: bool = False


@dataclass
class Year:
    """One run; ``seed`` decides it."""

    store: Store
    settings: Settings
    cases: int
    first: date = date(2026, 1, 1)
    days: int = 365
    hours: tuple[int, ...] = (2, 8, 13)  # of the ticks of a day, by the city's clock
    seed: int = 1
    out: Mailboxes = field(default_factory=Mailboxes)
    letters: list[Letter] = field(default_factory=list)
    pauses: list[tuple[datetime, int, bool]] = field(default_factory=list)  # when, which part, and if it begins
    plans: dict[int, Plan] = field(default_factory=dict)  # by case
    by_number: dict[str, Plan] = field(default_factory=dict)
    climbed: dict[int, datetime] = field(default_factory=dict)  # by part: the last look of the pure ladder
    told_on: dict[str, set[date]] = field(default_factory=lambda: defaultdict(set))  # by reader
    waiting: dict[int, datetime] = field(default_factory=dict)  # by case: at the desk since
    expected: Counter[tuple[int, str]] = field(default_factory=Counter)
    read_deliveries: int = 0
    ticks: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.office = Office.of(self.settings)
        self.city = city(self.settings)
        self.coming = sorted(self._plans(), key=lambda plan: plan.arrives)

    def _plans(self) -> Iterator[Plan]:
        fates = [fate for fate, share in FATES.items() for _ in range(share)]
        for _ in range(self.cases):
            day = self.first + timedelta(days=self.chance.randrange(self.days))
            arrives = datetime.combine(
                day, time(self.chance.randrange(24), self.chance.randrange(60)), self.office.zone
            )
            fate = self.chance.choice(fates)
            first, second = self.chance.sample(UNITS, 2)
            forgotten = timedelta(days=self.chance.randrange(4, 9))
            yield Plan(
                arrives.astimezone(UTC),
                fate,
                self.chance.choice(URGENT if self.chance.random() < 0.1 and fate != "silent" else ORDINARY),
                [SILENT] if fate == "silent" else [first, second],
                forgotten if fate == "forgotten" else timedelta(hours=self.chance.randrange(6)),
                timedelta(days=self.chance.randrange(35, 65) if fate == "late" else self.chance.randrange(1, 26)),
            )

    def run(self) -> None:
        """All days, tick by tick."""
        for count in range(self.days + AFTERWARDS):
            day = self.first + timedelta(days=count)
            for hour in self.hours if day not in NOTHING_RUNS else ():
                self.tick(datetime.combine(day, time(hour), self.office.zone).astimezone(UTC))

    def tick(self, now: datetime) -> None:
        """What happens at a moment: mail comes in and is read, the desk decides, mail leaves, the clock looks."""
        self.ticks += 1
        self.out.now, self.out.away = now, self.office.day(now) in SMARTHOST_AWAY
        self._take_in(now)
        if self.office.is_open(now):
            self._decide(now)
        self._send(now)
        self._foresee(now)
        deadlines.mark_waiting(self.store, self.settings, now)
        while self.store.has_due(Assignment, now):
            deadlines.remind_due(self.store, self.settings, now, organisation=self.city)
        self._send(now)

    def _take_in(self, now: datetime) -> None:
        plans = [plan for plan in self.coming if plan.arrives <= now]
        self.coming = self.coming[len(plans) :]
        letters = [one for one in self.letters if one.at <= now]
        self.letters = [one for one in self.letters if one.at > now]
        arrivals = [self._mail(plan) for plan in plans] + [self._reply(one, now) for one in letters]
        if not arrivals:
            return
        with self.store.write() as session:
            entries = [ingest.entry_of(arrival) for arrival in arrivals]
            taken = ingest.register(session, entries, None, now=now, zone=self.office.zone, weeks=4)
        for plan, one in zip(plans, taken, strict=False):
            plan.case_id = one.case_id
            self.plans[one.case_id] = self.by_number[one.number] = plan
            self.waiting[one.case_id] = now
            if plan.fate == "refused":
                self.out.refusing.add(one.number)
        while reading.read_due(self.store, Judge(), self.settings, now, organisation=self.city):
            pass

    def _mail(self, plan: Plan) -> ingest.Arrival:
        mail = EmailMessage()
        count = self.chance.randrange(10**9)
        mail["From"] = f"medborgare{count}@post.example"
        mail["Subject"] = f"Ärende {plan.kind} {plan.units[0]}"
        mail["Message-ID"] = f"<{count}@post.example>"
        mail.set_content(f"Hej! Det gäller sak {count}.")
        return self._arrival(mail, plan.arrives, "goteborg@stad.example")

    def _reply(self, one: Letter, now: datetime) -> ingest.Arrival:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = one.sender, one.to, "Autosvar" if one.automatic else "Sv: ärendet"
        mail["Message-ID"] = f"<{self.chance.randrange(10**9)}@stad.example>"
        if one.automatic:
            mail["Auto-Submitted"] = "auto-replied"
        mail.set_content(one.text)
        return self._arrival(mail, now, one.to)

    def _arrival(self, mail: EmailMessage, at: datetime, to: str) -> ingest.Arrival:
        octets = mail.as_bytes().replace(b"\n", b"\r\n")
        return ingest.Arrival(octets, "imap:kontaktcenter", ingest.delivery_key(), at, str(mail["From"]), (to,))

    def _decide(self, now: datetime) -> None:
        """What is open and whose time has come is decided; clocks stop and go on."""
        with self.store.write() as session:
            for key in session.exec(select(Case.id).where(Case.state == CaseState.OPEN).order_by(col(Case.id))).all():
                plan = self.plans[key]
                if now >= plan.arrives + plan.decided_after:
                    self._decide_one(session, plan, now)
                    self.waiting.pop(key, None)
            for at, part_id, begins in [one for one in self.pauses if one[0] <= now]:
                self.pauses.remove((at, part_id, begins))
                self._pause(session, part_id, begins, now)

    def _decide_one(self, session: Session, plan: Plan, now: datetime) -> None:
        if plan.fate == "closed":
            reason = triage.CloseReason.EJ_ARENDE
            triage.close(session, plan.case_id, reason, note="", seen=None, actor="maria", now=now)
            return
        choice = triage.Choice(plan.units.pop(0), "cykel")
        triage.confirm(
            session, plan.case_id, [choice], seen=None, actor="maria", now=now,
            organisation=self.city, settings=self.settings,
        )  # fmt: skip

    def _pause(self, session: Session, part_id: int, begins: bool, now: datetime) -> None:
        case_id = session.get_one(Assignment, part_id).case_id
        who: dict[str, Any] = {
            "seen": None,
            "actor": "maria",
            "now": now,
            "settings": self.settings,
            "organisation": self.city,
        }
        if begins:
            deadlines.pause(session, case_id, part_id, reason="Väntar på medborgaren.", **who)
        else:
            deadlines.resume(session, case_id, part_id, **who)
        self.climbed[part_id] = now

    def _send(self, now: datetime) -> None:
        while self.store.has_due(Dispatch, now) and forward.send_due(
            self.store, self.out, self.settings, now, organisation=self.city, chance=self.chance
        ):
            pass
        for at, mailbox, kind, number, envelope in self.out.delivered[self.read_deliveries :]:
            if kind == "digest":
                self.told_on[mailbox].add(self.office.day(at))
            elif kind == "forward":
                self._expect_answer(self.by_number[number], mailbox, envelope, at)
        self.read_deliveries = len(self.out.delivered)

    def _expect_answer(self, plan: Plan, mailbox: str, to: str, at: datetime) -> None:
        """What the registrator who gets a forward will do about it."""
        if plan.fate == "silent":
            return
        if plan.fate == "returned" and plan.units:
            self.letters.append(Letter(at + timedelta(days=1), mailbox, to, "Fel förvaltning."))
            return
        if self.chance.random() < 0.2:
            self.letters.append(Letter(at, mailbox, to, "Jag är inte på kontoret.", automatic=True))
        answered = plan.answered_after
        if plan.fate == "numbered":
            self.letters.append(Letter(at + answered / 3, mailbox, to, f"Dnr SMF-2026-{plan.case_id:05d}."))
        if plan.fate == "paused":
            with self.store.read() as session:
                mine = (
                    select(Assignment.id).where(Assignment.case_id == plan.case_id).order_by(col(Assignment.id).desc())
                )
                part_id = session.exec(mine).first()
            assert part_id is not None
            stop = at + timedelta(days=self.chance.randrange(1, 15))
            go = stop + timedelta(days=self.chance.randrange(3, 25))
            self.pauses += [(stop, part_id, True), (go, part_id, False)]
            answered = go - at + timedelta(days=5 + answered.days)
        self.letters.append(Letter(at + answered, mailbox, to, "Besvarat."))

    # What the pure ladder says

    def _foresee(self, now: datetime) -> None:
        """Count what is to be told at this tick: from the rows as they stand, and this object's own memory."""
        for key, since in list(self.waiting.items()):
            rules = ladder.policy_of(self.settings.deadline, None, self.plans[key].kind)
            if ladder.unconfirmed_at(rules, self.office, since) <= now:
                self.expected[key, "unconfirmed"] += 1
                del self.waiting[key]
        with self.store.read() as session:
            live = (
                select(Assignment, Case.kind)
                .join(Case, col(Case.id) == Assignment.case_id)
                .where(col(Assignment.state).in_(deadlines.LIVE))
            )
            rows = session.exec(live).all()
            session.expunge_all()
        free = {reader for reader in self._readers if self.office.day(now) not in self.told_on[reader]}
        for part, kind in rows:
            part.climbed_at = self.climbed.setdefault(part.id, part.created_at)
            if self._foresee_part(part, kind, free, now):
                self.climbed[part.id] = now

    @cached_property
    def _readers(self) -> set[str]:
        units = [self.city.units[key] for key in (*UNITS, SILENT)]
        return {reader for unit in units for reader in (unit.mailbox, unit.head) if reader}

    def _foresee_part(self, part: Assignment, kind: str, free: set[str], now: datetime) -> bool:
        """True when the part is told of, or there was nothing to tell; False when it has to wait."""
        unit = self.city.units[part.unit]
        rules = ladder.policy_of(self.settings.deadline, unit, kind)
        due = ladder.due(part, rules, self.office, now)
        steps = [rung.step for rung in due]
        if Step.URGENT in steps and (rules.at_once or self.office.is_open(now)):
            self.expected[part.id, "urgent"] += 1
            return True
        if any(step in ladder.MAILED for step in steps):
            head = unit.head if ladder.is_for_head(due, part, rules, self.office.day(now)) else None
            readers = {reader for reader in (unit.mailbox, head) if reader}
            if not self.office.is_open(now) or not readers <= free:
                return False
            for reader in readers:
                self.told_on[reader].add(self.office.day(now))
            self.expected[part.id, "registrator"] += 1
            self.expected[part.id, "chef"] += bool(head)
        for step in steps:
            self.expected[part.id, step.value] += step in ladder.DESK
        return True

    # What came of it

    def told(self, session: Session) -> Counter[tuple[int, str]]:
        """What the history says was told, counted like ``expected``."""
        found: Counter[tuple[int, str]] = Counter()
        for event in session.exec(select(Event).where(Event.kind == diarium.EventKind.REMINDED)):
            key = event.detail.get("assignment", event.case_id)
            found[key, event.detail.get("to") or event.detail["step"]] += 1
        return found

    def digests(self) -> Counter[tuple[str, date]]:
        """How many digests reached each reader on each day."""
        return Counter((to, self.office.day(at)) for at, to, kind, _, _ in self.out.delivered if kind == "digest")

    def faults(self) -> list[str]:
        """Everything that is not as it should be, in sentences; empty after a good year."""
        with self.store.read() as session:
            return [*self._wrong_counts(session), *self._storms(), *self._ends(session), *self._sums(session)]

    def _wrong_counts(self, session: Session) -> Iterator[str]:
        told, expected = self.told(session), +self.expected
        for key in sorted(set(told) | set(expected)):
            if told[key] != expected[key]:
                yield f"{key}: told {told[key]} times, the ladder says {expected[key]}"

    def _storms(self) -> Iterator[str]:
        yield from (
            f"{reader} had {count} digests on {day}" for (reader, day), count in self.digests().items() if count > 1
        )
        for at, reader, kind, _, _ in self.out.delivered:
            if kind == "digest" and not self.office.is_open(at):
                yield f"{reader} had a digest outside office hours, at {at}"

    def _ends(self, session: Session) -> Iterator[str]:
        ended = {"closed": CaseState.CLOSED, "silent": CaseState.ROUTED}
        for case in session.exec(select(Case)):
            fate = self.plans[case.id].fate
            if case.state is not ended.get(fate, CaseState.ANSWERED):
                yield f"{case.number} ({fate}) is {case.state}: {case.attention}"

    def _sums(self, session: Session) -> Iterator[str]:
        yield from (f"{balance} does not hold" for balance in reconcile.balances(session) if not balance.holds)
        for case in session.exec(select(Case)):
            events = session.exec(select(Event).where(Event.case_id == case.id).order_by(col(Event.sequence))).all()
            yield from diarium.broken_links(case.number, case.last_event, case.last_hash, events)
