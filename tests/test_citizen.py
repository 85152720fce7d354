"""The citizen: acknowledgement, who has it, what is written later, and the page behind the link; on both databases."""

import email
import email.policy
import smtplib
from dataclasses import replace
from datetime import date, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from sqlmodel import select

from mailrouter import bounces, config, diarium, forward, reading, signing, triage
from mailrouter.classify.values import Candidate, Verdict
from mailrouter.compose.citizen import status_address
from mailrouter.config import Settings
from mailrouter.diarium import EventKind
from mailrouter.letter.values import Failure, Report
from mailrouter.smarthost import MaildirSmarthost, Never, Outcome, Sent
from mailrouter.store import Store
from mailrouter.tables import Case, CaseState, Dispatch, DispatchKind, Disposition, Event, Mail
from mailrouter.translations import LOCALES
from mailrouter.triage import Choice
from tests.clock import NOW
from tests.desk import STREETS, WATER, Direct, city, open_desk
from tests.register import take
from tests.service import Service
from tests.waiting import until

LETTERS = Path(__file__).parent / "letters"
SECRET = "Jag heter Kerstin och har fallit"


class Judging:
    """Says what a test wants said."""

    by = "test"

    def __init__(self, **changes: Any) -> None:
        verdict = Verdict(
            (Candidate("gatubelysning", STREETS, 0.9),), "klagomal", "centrum", (), "sv", (), False, "test"
        )
        self._verdict = replace(verdict, **changes)

    def classify(self, queries: Any, on: date) -> list[Verdict]:
        """The same for all."""
        return [self._verdict for _ in queries]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The defaults, with the mailboxes in the test's folder."""
    return Settings(smarthost=config.Smarthost(maildir=tmp_path / "mailboxes", connections=1))


def mail(subject: str = "Lampan", body: str = SECRET, **fields: str) -> bytes:
    """A citizen's mail."""
    made = EmailMessage()
    given = {"From": "Kerstin Ek <Kerstin@post.example>", "To": "goteborg@stad.example", "Subject": subject}
    given |= {"Date": "Mon, 02 Mar 2026 09:00:00 +0100", "Message-ID": "<brev-1@post.example>"}
    for name, value in (given | {name.replace("_", "-"): value for name, value in fields.items()}).items():
        made[name] = value
    made.set_content(body)
    return made.as_bytes().replace(b"\n", b"\r\n")


def receive(db: Store, settings: Settings, *mails: bytes, **judged: Any) -> list[str]:
    """Take mails in and have them read; the numbers of their cases."""
    taken = take(db, *mails)
    while reading.read_due(db, Judging(**judged), settings, NOW, organisation=city()):
        pass
    return [one.number for one in taken]


def queued(db: Store, number: str) -> list[Dispatch]:
    """What is to leave, or has left, for a case."""
    with db.read() as session:
        case = diarium.find(session, number)
        return list(session.exec(select(Dispatch).where(Dispatch.case_id == case.id).order_by("id")).all())


def case_of(db: Store, number: str) -> Case:
    """The case as it is now."""
    with db.read() as session:
        return diarium.find(session, number)


def send(db: Store, settings: Settings) -> None:
    """Send all that is due, and what becomes due by that."""
    smarthost = MaildirSmarthost(settings.smarthost.maildir, settings.city.domains)
    for moment in (NOW, NOW + timedelta(minutes=5)):
        while forward.send_due(db, smarthost, settings, moment, organisation=city()):
            pass


def confirm(db: Store, settings: Settings, number: str, *units: str) -> None:
    """Route the case."""
    with db.write() as session:
        case = diarium.find(session, number)
        choices = [Choice(unit) for unit in units]
        triage.confirm(
            session, case.id, choices, seen=None, actor="eva", now=NOW, organisation=city(), settings=settings
        )


def letters_to(settings: Settings, recipient: str) -> list[EmailMessage]:
    """What lies in a mailbox, oldest first."""
    files = sorted((settings.smarthost.maildir / recipient / "new").glob("*"), key=lambda file: file.stat().st_mtime_ns)
    found = [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]
    return [one for one in found if isinstance(one, EmailMessage)]


def words(of: EmailMessage) -> str:
    """The text of a mail of ours."""
    body = of.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def test_a_person_is_told_that_it_has_come_in(db: Store, settings: Settings) -> None:
    """One acknowledgement with number, last day and link; nothing of what the person wrote or is called."""
    with db.write() as session:
        signing.make_key(session, settings.city, NOW)
    (number,) = receive(db, settings, mail())
    send(db, settings)
    (sent,) = letters_to(settings, "kerstin@post.example")
    assert number in sent["Subject"]
    assert sent["Auto-Submitted"] == "auto-replied"
    assert sent["In-Reply-To"] == "<brev-1@post.example>"
    assert "måndag 30 mars 2026" in words(sent)
    assert f"/mitt-arende/{number}/" in words(sent)
    for private in ("Kerstin", "fallit", "Lampan"):
        assert private not in sent.as_string()
        assert private not in words(sent)


@pytest.mark.parametrize(
    "fields",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Precedence": "bulk", "List_Id": "<nytt.post.example>"},
        {"From": "no-reply@post.example"},
        {"From": "Butiken <kampanj.noreply@post.example>"},
        {"Return_Path": "<>"},
        {"From": "goteborg@stad.example"},
        {"Reply_To": "svar+mrabc@stad.example"},
        {"From": "MAILER-DAEMON@post.example"},
    ],
    ids=lambda fields: next(iter(fields.values())),
)
def test_no_program_is_answered(db: Store, settings: Settings, fields: dict[str, str]) -> None:
    """RFC 3834 2: neither what a program wrote, nor a mailbox that nobody reads, nor ourselves."""
    (number,) = receive(db, settings, mail(**fields))
    assert queued(db, number) == []


def test_whoever_sends_advertisements_is_told_nothing(db: Store, settings: Settings) -> None:
    """The sender of an advertisement is most often forged."""
    (number,) = receive(db, settings, mail(), candidates=(Candidate("ej-arende", None, 0.8),))
    assert queued(db, number) == []


def test_the_citizen_behind_a_form_is_told_and_its_robot_never(db: Store, settings: Settings) -> None:
    """The address in the form's text is the citizen's; who wanted no answer gets none."""
    form = (
        "Vad har hänt?: Lampan är trasig\r\nVar: Kungsgatan\r\nVill du ha svar?: {}\r\n"
        "Namn: Lisa Ek\r\nE-post: Lisa@post.example\r\n"
    )
    robot = {"From": "Klaga på stan <formular@klagapastan.example>", "Subject": "Klaga på stan: ny synpunkt"}
    wants, wants_not = receive(
        db, settings, mail(body=form.format("Ja"), **robot), mail(body=form.format("Nej"), **robot)
    )
    assert [one.recipient for one in queued(db, wants)] == ["lisa@post.example"]
    assert (case_of(db, wants).sender, case_of(db, wants).sender_name) == ("lisa@post.example", "Lisa Ek")
    assert queued(db, wants_not) == []


def test_one_address_gets_only_so_many_a_day(db: Store, settings: Settings) -> None:
    """Neither a loop nor a joker with somebody's address gets further than the setting."""
    mails = [mail(body=f"{SECRET} {count}", Message_ID=f"<{count}@post.example>") for count in range(8)]
    numbers = receive(db, settings, *mails)
    assert sum(len(queued(db, number)) for number in numbers) == settings.citizen.most_a_day == 5


def test_the_setting_turns_it_off(db: Store, settings: Settings) -> None:
    """A city that tells its citizens in another way sends nothing."""
    silent = settings.model_copy(update={"citizen": config.Citizen(acknowledge=False)})
    (number,) = receive(db, silent, mail())
    assert queued(db, number) == []


@pytest.mark.parametrize(
    ("language", "greetings"), [("sv", ["Hej!"]), ("en", ["Hello,"]), ("fi", ["Hei!"]), ("so", ["Hej!", "Hello,"])]
)
def test_everybody_is_written_to_in_a_language_they_may_read(
    db: Store, settings: Settings, language: str, greetings: list[str]
) -> None:
    """Finnish to Finns and English to whoever wrote English; to others both Swedish and English."""
    receive(db, settings, mail(), language=language)
    send(db, settings)
    (sent,) = letters_to(settings, "kerstin@post.example")
    assert [one for one in ("Hej!", "Hello,", "Hei!") if one in words(sent)] == greetings


def test_no_day_is_promised_where_another_law_rules(db: Store, settings: Settings) -> None:
    """A request for documents is answered at once, not within four weeks (TF 2 kap.)."""
    receive(db, settings, mail(), kind="begaran-handling")
    send(db, settings)
    (sent,) = letters_to(settings, "kerstin@post.example")
    assert "senast" not in words(sent)


def test_the_citizen_learns_who_has_it_once_all_parts_are_there(db: Store, settings: Settings) -> None:
    """One notice that names both units, sent when the last forward has been taken."""
    (number,) = receive(db, settings, mail())
    confirm(db, settings, number, STREETS, WATER)
    send(db, settings)
    notices = [one for one in queued(db, number) if one.kind is DispatchKind.NOTICE]
    assert [one.detail["units"] for one in notices] == [[WATER, STREETS]]
    told = letters_to(settings, "kerstin@post.example")[-1]
    assert "kretslopp och vatten" in words(told)
    assert "Lampan" not in words(told)


@pytest.mark.parametrize("secret", [{"flags": ("skyddad",)}, {"kind": "orosanmalan"}])
def test_nobody_learns_from_us_who_has_a_restricted_case(db: Store, settings: Settings, secret: dict[str, Any]) -> None:
    """Whoever reads the citizen's mail must not learn which förvaltning they turned to."""
    (number,) = receive(db, settings, mail(), **secret)
    confirm(db, settings, number, STREETS)
    send(db, settings)
    assert {one.kind for one in queued(db, number)} == {DispatchKind.ACKNOWLEDGEMENT, DispatchKind.FORWARD}


def reply_to(db: Store, number: str, kind: DispatchKind, sender: str = "kerstin@post.example") -> bytes:
    """An answer to one of our mails of a case."""
    token = next(one.token for one in queued(db, number) if one.kind is kind)
    return mail("SV: mer", "Det gäller Storgatan 4 också.", From=sender, To=f"svar+{token}@stad.example",
                Message_ID="<brev-2@post.example>")  # fmt: skip


def test_what_is_written_later_goes_on_by_itself(db: Store, settings: Settings) -> None:
    """A reply to the acknowledgement joins the case and reaches the unit as komplettering, byte for byte."""
    (number,) = receive(db, settings, mail())
    confirm(db, settings, number, STREETS)
    send(db, settings)
    later = reply_to(db, number, DispatchKind.ACKNOWLEDGEMENT)
    assert receive(db, settings, later) == [number]
    send(db, settings)
    mailbox = next(one.recipient for one in queued(db, number) if one.kind is DispatchKind.FORWARD)
    _, completion = letters_to(settings, mailbox)
    assert completion["Subject"].startswith(f"[{number}] Komplettering: ")
    assert later in completion.as_bytes(policy=email.policy.SMTP)
    assert case_of(db, number).attention == ""


def test_what_is_written_before_the_decision_goes_with_it(db: Store, settings: Settings) -> None:
    """A follow-up to a case that nobody has routed yet asks for a person, and travels when it is routed."""
    (number,) = receive(db, settings, mail())
    receive(db, settings, reply_to(db, number, DispatchKind.ACKNOWLEDGEMENT))
    assert "skrivit igen" in case_of(db, number).attention
    confirm(db, settings, number, STREETS)
    kinds = [one.kind for one in queued(db, number)]
    assert kinds.count(DispatchKind.COMPLETION) == 1


def test_a_stranger_with_the_address_is_read_by_a_person(db: Store, settings: Settings) -> None:
    """The reply address alone lets nobody write to a förvaltning in the citizen's name."""
    (number,) = receive(db, settings, mail())
    confirm(db, settings, number, STREETS)
    send(db, settings)
    receive(db, settings, reply_to(db, number, DispatchKind.ACKNOWLEDGEMENT, sender="okand@annan.example"))
    assert DispatchKind.COMPLETION not in {one.kind for one in queued(db, number)}
    assert case_of(db, number).attention


def test_an_acknowledgement_that_bounces_is_the_last(db: Store, settings: Settings) -> None:
    """The address does not work: nothing more goes there, and the case takes no other harm."""
    (number,) = receive(db, settings, mail())
    send(db, settings)
    (sent,) = queued(db, number)
    with db.write() as session:
        case = diarium.find(session, number)
        bounce = Mail(case_id=case.id, dispatch_id=sent.id, disposition=Disposition.JOINED, source="t", source_key="1",
                      identity="b", size=1, received_at=NOW)  # fmt: skip
        session.add(bounce)
        session.flush()
        failure = Failure("kerstin@post.example", "failed", "5.1.1", "no such user")
        bounces.take_report(session, bounce, Report((failure,), ""), settings, NOW)
    assert (case_of(db, number).contact, case_of(db, number).state) == ("", CaseState.OPEN)
    confirm(db, settings, number, STREETS)
    send(db, settings)
    assert DispatchKind.NOTICE not in {one.kind for one in queued(db, number)}


def test_the_service_tells_the_citizen(tmp_path: Path) -> None:
    """From the SMTP door to the citizen's own mailbox, with a link that leads to the page."""
    told = {"MAILROUTER_CITIZEN__ACKNOWLEDGE": "true"}
    service = Service(tmp_path / "service", f"sqlite:///{tmp_path}/register.db", environment=told)
    service.start()
    try:
        with smtplib.SMTP("127.0.0.1", service.smtp_port, timeout=30) as door:
            door.sendmail("kerstin@post.example", ["goteborg@stad.example"], mail())
        box = service.mailboxes / "kerstin@post.example" / "new"
        until(lambda: box.is_dir() and any(box.iterdir()), 60)
        (octets,) = (file.read_bytes() for file in box.iterdir())
        sent = email.message_from_bytes(octets, policy=email.policy.default)
        assert isinstance(sent, EmailMessage)
        address = next(line for line in words(sent).splitlines() if line.startswith(service.desk))
        assert "Kontaktcenter läser" in httpx.get(address).text
    finally:
        service.kill()


class Refusing:
    """A smarthost that takes nothing for citizens."""

    def send(self, envelope_sender: str, recipient: str, octets: bytes, *, outside: bool = False, **_: Any) -> Outcome:
        """No, where it is for a citizen."""
        return Never("550 5.1.1 unknown") if outside else Sent("250 ok")

    def close(self) -> None:
        """Nothing is open."""


def test_a_written_answer_that_does_not_arrive_opens_the_case_again(db: Store, settings: Settings) -> None:
    """Somebody wrote an answer; that it reached nobody must come back to a person."""
    (number,) = receive(db, settings, mail())
    with db.write() as session:
        case = diarium.find(session, number)
        opening = triage.opening_mail(session, case.id)
        triage.close(session, case.id, triage.CloseReason.BESVARAT_DIREKT, note="", seen=None, actor="eva", now=NOW)
        session.add(
            Dispatch(case_id=case.id, mail_id=opening.id, kind=DispatchKind.ANSWER, recipient="kerstin@post.example",
                     token="mr" + "c" * 24, created_at=NOW, due_at=NOW, text="Vi lagar den i morgon.")
        )  # fmt: skip
    forward.send_due(db, Refusing(), settings, NOW, organisation=city())
    case = case_of(db, number)
    assert (case.state, "kom inte fram" in case.attention) == (CaseState.OPEN, True)


def test_a_written_answer_is_sent_as_it_was_written(db: Store, settings: Settings) -> None:
    """It says nothing of programs, and answering it leads back to the case."""
    (number,) = receive(db, settings, mail())
    with db.write() as session:
        case = diarium.find(session, number)
        opening = triage.opening_mail(session, case.id)
        token = "mr" + "d" * 24
        session.add(
            Dispatch(case_id=case.id, mail_id=opening.id, kind=DispatchKind.ANSWER, recipient="kerstin@post.example",
                     token=token, created_at=NOW, due_at=NOW, text="Hej!\n\nVi lagar den i morgon.")
        )  # fmt: skip
    send(db, settings)
    answer = letters_to(settings, "kerstin@post.example")[-1]
    assert "Vi lagar den i morgon." in words(answer)
    assert (answer["Auto-Submitted"], token in answer["Reply-To"]) == (None, True)
    with db.read() as session:
        kinds = [event.kind for event in session.exec(select(Event).where(Event.case_id == case.id)).all()]
    assert EventKind.SENT in kinds


# ---- the page


def look(db: Store, settings: Settings, address: str) -> httpx.Response:
    """Open a link as a citizen does: no cookie, no login."""
    with httpx.Client(transport=Direct(open_desk(db, settings=settings)), base_url="http://desk.example") as client:
        return client.get(address.removeprefix(settings.desk.base_url))


def link(db: Store, settings: Settings, number: str) -> str:
    """The link that stands in the acknowledgement."""
    with db.write() as session:
        keys = signing.make_key(session, settings.city, NOW)
        return status_address(diarium.find(session, number), keys, settings)


def test_the_page_shows_where_the_case_is(db: Store, settings: Settings) -> None:
    """Received, with a unit, answered; never what was written, by whom or about what."""
    (number,) = receive(db, settings, mail())
    address = link(db, settings, number)
    assert "Kontaktcenter läser och skickar" in look(db, settings, address).text
    confirm(db, settings, number, STREETS)
    send(db, settings)
    page = look(db, settings, address)
    assert "Stadsmiljöförvaltningen" in page.text
    assert "30 mars 2026" in page.text
    for private in ("Kerstin", "fallit", "Lampan", "belysning"):
        assert private not in page.text
    assert "Stadsmiljöförvaltningen" in look(db, settings, f"{address}?sprak=fi").text
    assert '<html lang="fi">' in look(db, settings, f"{address}?sprak=fi").text


def test_only_our_links_lead_there(db: Store, settings: Settings) -> None:
    """A link for another case, a bent one and a guessed one say that they do not work, and nothing of any case."""
    one, other = receive(db, settings, mail(), mail(body="Annat", Message_ID="<9@post.example>"))
    signature = link(db, settings, one).rpartition("/")[2]
    for bent in (f"/mitt-arende/{other}/{signature}", f"/mitt-arende/{one}/{signature[:-1]}", f"/mitt-arende/{one}/x"):
        page = look(db, settings, bent)
        assert (page.status_code, one in page.text, other in page.text) == (404, False, False)


def test_a_restricted_case_shows_nothing_but_that_it_is_here(db: Store, settings: Settings) -> None:
    """Whoever has the phone in hand learns nothing."""
    (number,) = receive(db, settings, mail(), flags=("skyddad",))
    confirm(db, settings, number, STREETS)
    send(db, settings)
    page = look(db, settings, link(db, settings, number)).text
    assert "Stadsmiljö" not in page
    assert "Ditt ärende hanteras" in page


def test_every_sentence_for_citizens_is_translated() -> None:
    """English and Finnish have exactly the sentences of mails and pages."""
    found = extract_from_dir(
        LOCALES.parent,
        method_map=[
            ("compose/citizen.py", "python"),
            ("templates/mail/citizen/**.txt", "jinja2"),
            ("templates/public/**.html", "jinja2"),
        ],
        keywords={"_": None},
    )
    written = {str(message) for _, _, message, _, _ in found}
    for code in ("en", "fi"):
        with (LOCALES / code / "LC_MESSAGES" / "citizen.po").open("rb") as file:
            catalogue = read_po(file, locale=code)
        assert {str(message.id) for message in catalogue if message.id} == written
        assert all(message.string and not message.fuzzy for message in catalogue if message.id)
        assert not [fault for message in catalogue for fault in message.check(catalogue)]
