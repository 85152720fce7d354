"""Draws docs/images: ``python -m tests.pictures`` sorts invented mail at a desk of its own and photographs it."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from playwright.sync_api import Browser
from sqlmodel import Session, select

from bench import filling
from mailrouter import config, diarium, ingest, reading, store, triage
from mailrouter.classify.values import Candidate, Query, Reason, Verdict
from mailrouter.config import Settings
from mailrouter.diarium import EventKind
from mailrouter.store import Store
from mailrouter.tables import AssignmentState, Attempt, Case, Dispatch, DispatchState, Role
from mailrouter.triage import Choice
from tests.browser import Window, chromium, served, window
from tests.clock import NOW, ZONE
from tests.desk import city, hire, letter, open_desk

HOUSE = 5  # the template that refers people to their landlord, as the migration numbers it
IMAGES = Path(__file__).parent.parent / "docs" / "images"


@dataclass(frozen=True)
class Sample:
    """An invented mail with what is suggested for it; candidates are area and share."""

    sender: str
    subject: str
    body: str
    candidates: Sequence[tuple[str, float]]
    reasons: Sequence[str] = ()
    flags: tuple[str, ...] = ()
    district: str | None = None
    kind: str = "klagomal"
    hours_ago: float = 1
    attachments: Sequence[tuple[str, str, bytes]] = ()
    words: tuple[str, ...] = ()  # those that the first reason names


SAMPLES = (
    Sample(
        "Birgitta Holm <birgitta.holm@post.example>",
        "Halt på trottoaren vid Chapmans torg",
        "Hej!\n\nJag är 82 år och går med rollator. Trottoaren mellan Chapmans torg och apoteket har inte sandats på "
        "hela veckan, och i går ramlade jag nästan. Min granne bröt armen på samma ställe förra vintern.\n\nKan ni "
        "sanda där redan i dag, och lägga sträckan på listan över platser som ska tas först? Det är många äldre som "
        "går just där.\n\nVem ansvarar, och när kan jag räkna med ett svar?\n\nMed vänliga hälsningar\nBirgitta Holm\n"
        "Karl Johansgatan\n",
        [("vintervaghallning", 0.94), ("gata-underhall", 0.03), ("aldreboende", 0.01)],
        ["Orden sandats, trottoaren och halt pekar på snöröjning och halkbekämpning.",
         "Chapmans torg ligger i stadsområde Centrum.", "Skriver om att någon kan skada sig i dag: brådskande."],
        ("bradskande",), "centrum", "felanmalan", 2.5, [("trottoaren.jpg", "image/jpeg", b"\xff\xd8" * 90_000)],
        ("sandats", "trottoaren", "halt"),
    ),
    Sample(
        "Ahmed Yusuf <ahmed.yusuf@brev.example>", "Avslag på försörjningsstöd, hur överklagar jag?",
        "Hej! Jag fick avslag i torsdags. Vi bor i Hammarkullen. Hur gör jag för att överklaga?\n",
        [("forsorjningsstod", 0.91), ("hemloshet-boende", 0.04), ("konsument-skuld", 0.02)],
        ["Nämner Hammarkullen: stadsområde Nordost."], ("overklagande-frist", "kanslig"), "nordost", "overklagande", 26,
    ),
    Sample(
        "Lena Svahn <lena@post.example>", "Vi har väntat på förskoleplats i över fyra månader",
        "Vi sökte i oktober och bor i Kortedala. Vad gäller?\n",
        [("forskola-plats", 0.97), ("forskola-verksamhet", 0.02), ("grundskola-placering", 0.01)],
        (), ("barn",), "nordost", "klagomal", 30,
    ),
    Sample(
        "Störd granne <granne@post.example>", "Fläkten på restaurangen låter hela natten",
        "Jag har ringt hyresvärden tre gånger.\n",
        [("buller-lukt", 0.52), ("serveringstillstand", 0.31), ("hyresratt", 0.09)],
        (), (), None, "klagomal", 49,
    ),
    Sample(
        "Jonas Ek <jonas.ek@post.example>", "Utebliven sophämtning, tredje gången",
        "Kärlet på Kobbarnas väg är inte tömt.\n",
        [("sophamtning", 0.96), ("atervinning", 0.02), ("renhallning", 0.01)], (), (), "centrum",
        "felanmalan", 52,
    ),
    Sample(
        "Priya Raman <priya.raman@post.example>", "School place for my son, we just moved to Hammarkullen",
        "Hello, we moved here last week.\n",
        [("grundskola-placering", 0.93), ("grundskola-verksamhet", 0.03), ("forskola-plats", 0.02)], (), (), "nordost",
        "fraga", 55,
    ),
    Sample(
        "Kent B <kent@brev.example>", "Hej", "Det funkar inte, kan ni fixa det?\n",
        [("kontaktcenter-service", 0.12), ("webb-etjanst", 0.09), ("gatubelysning", 0.06)], (), (), None, "ovrigt", 70,
    ),
    Sample(
        "Elsa Lund <elsa.lund@post.example>", "Tack till biblioteket i Frölunda",
        "Personalen hjälpte min mamma med utskrifterna. Så fint bemötande!\n",
        [("bibliotek", 0.95), ("museer-konst", 0.03), ("kulturbidrag", 0.01)], (), (), "sydvast", "berom", 75,
    ),
    Sample(
        "Björn Öberg <bjorn@post.example>", "Hål i vägbanan vid Korsvägen, cykeln sönder",
        "Framhjulet är skevt efter hålet.\n",
        [("gata-underhall", 0.83), ("cykel", 0.11), ("renhallning", 0.03)], (), (), "centrum", "skadestand", 98,
    ),
)  # fmt: skip


class SampleClassifier:
    """Says what the samples say."""

    by = "regler 3f9a2c, modell 2026-02-20"

    def classify(self, queries: Sequence[Query], on: date) -> list[Verdict]:
        """One verdict a query."""
        return [self._verdict(next(s for s in SAMPLES if s.subject == query.subject), on) for query in queries]

    def _verdict(self, sample: Sample, on: date) -> Verdict:
        candidates = tuple(
            Candidate(area, city().unit_for(area, sample.district, on), share) for area, share in sample.candidates
        )
        reasons = tuple(
            Reason("word", text, words=sample.words if place == 0 else ()) for place, text in enumerate(sample.reasons)
        )
        return Verdict(
            candidates,
            sample.kind,
            sample.district,
            sample.flags,
            "sv",
            reasons,
            candidates[0].probability < 0.7,
            self.by,
        )


def furnish(opened: Store) -> list[str]:
    """Fill the register; the cases' numbers, in the samples' order."""
    numbers = []
    with opened.write() as session:
        for index, sample in enumerate(SAMPLES):
            at = NOW - timedelta(hours=sample.hours_ago)
            octets = letter(sample.subject, sample.body, sender=sample.sender, attachments=sample.attachments)
            arrival = ingest.Arrival(octets, "demo", str(index), at, "", ("goteborg@stad.example",))
            taken = ingest.register(session, [ingest.entry_of(arrival)], None, now=at, zone=ZONE, weeks=4)
            numbers.append(taken[0].number)
    while reading.read_due(opened, SampleClassifier(), Settings(), NOW):
        pass
    with opened.write() as session:
        _history(session, numbers)
    return numbers


def _history(session: Session, numbers: Sequence[str]) -> None:
    """One case handed over, one that was returned, one in quarantine."""

    def case_of(number: str) -> Case:
        return session.exec(select(Case).where(Case.number == number)).one()

    handed, returned, broken = case_of(numbers[7]), case_of(numbers[8]), case_of(numbers[6])
    for case, unit in ((handed, "kulturforvaltningen"), (returned, "stadsmiljoforvaltningen")):
        triage.confirm(
            session, case.id, [Choice(unit)], seen=None, actor="olle", now=NOW - timedelta(hours=1),
            organisation=city(), settings=Settings(),
        )  # fmt: skip
        part = triage.assignments(session, case.id)[0]
        part.state = AssignmentState.DELIVERED
        dispatch = session.exec(select(Dispatch).where(Dispatch.assignment_id == part.id)).one()
        dispatch.state, dispatch.due_at = DispatchState.SENT, None
        for minutes, outcome, reply in (
            (59, "later", "451 4.7.1 Greylisted, try again later"),
            (54, "sent", "250 2.0.0 Ok"),
        ):
            at = NOW - timedelta(minutes=minutes)
            session.add(Attempt(dispatch_id=dispatch.id, started_at=at, finished_at=at, outcome=outcome, reply=reply))
        if case is returned:
            reason = "Enskild väg, ägs av samfälligheten"
            triage.give_back(session, case.id, part.id, reason=reason, seen=None, actor="rut", now=NOW)
    broken.suggestion, broken.suggested_at = None, None
    broken.attention = "Mejlet gick inte att läsa. Titta på originalet och fördela för hand."
    diarium.record(session, broken, EventKind.QUARANTINED, actor="mailrouter", now=NOW, detail={})


def main(folder: Path) -> None:
    """Draw the pictures of README and docs into ``folder``."""
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        opened = store.connect(config.Store(url=f"sqlite:///{name}/desk.db"))
        store.migrate(opened)
        hire(opened, "eva", Role.SERVICEVAGLEDARE)
        numbers = furnish(opened)
        with served(open_desk(opened)) as address, window(browser, address, height=960) as eva:
            eva.log_in("eva")
            _draw(eva, "/", folder / "desk-queue.png")
            _draw(eva, f"/arende/{numbers[0]}", folder / "desk-case.png")
            _draw(eva, f"/arende/{numbers[3]}?mall={HOUSE}", folder / "desk-answer.png")
        opened.dispose()
        draw_overview(Path(name) / "overview.db", browser, folder / "overview.png")


def draw_overview(database: Path, browser: Browser, file: Path) -> None:
    """The managers' page over some weeks of invented cases."""
    opened = store.connect(config.Store(url=f"sqlite:///{database}"))
    store.migrate(opened)
    filling.fill(opened, 25_000, city())
    hire(opened, "cim", Role.CHEF)
    with served(open_desk(opened)) as address, window(browser, address, height=1100) as cim:
        cim.log_in("cim")
        _draw(cim, "/oversikt?period=forra-manaden", file)
    opened.dispose()


def _draw(eva: Window, path: str, file: Path) -> None:
    eva.page.goto(eva.address + path)
    eva.page.screenshot(path=file)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
