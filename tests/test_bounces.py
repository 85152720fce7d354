"""Bounces: real ones of a real Postfix at both ends, and what the register makes of them."""

import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from sqlmodel import col, select

from mailrouter import config, forward, organisation, reading
from mailrouter.config import Settings
from mailrouter.ingest import Arrival, delivery_key, entry_of, register
from mailrouter.organisation import Organisation
from mailrouter.smarthost import Never, Sent, SmtpSmarthost
from mailrouter.store import Store, connect
from mailrouter.tables import Assignment, Attempt, Case, Dispatch, Event, Mail
from tests.clock import NOW, ZONE
from tests.register import LampClassifier
from tests.servers.postfix import Postfix, postfix
from tests.servers.postgres import free_port
from tests.test_forward import Answering, queue
from tests.waiting import until

SETTINGS = Settings()
SITE = "forvaltning.example"
OTHER = "reserv@stad.example"


@cache
def city() -> Organisation:
    """A city of one unit that has another mailbox to fall back on."""
    unit = organisation.Unit(
        id="unit-0", name="Stadsmiljö", kind="forvaltning", mailbox="stadsmiljo@stad.example", alternative=OTHER
    )
    return Organisation({"unit-0": unit}, {}, {})


class Greylist(socketserver.ThreadingTCPServer):
    """A policy server for Postfix that defers whatever it has not seen before, as postgrey does."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.seen: set[str] = set()
        super().__init__(("127.0.0.1", 0), _Policy)


class _Policy(socketserver.StreamRequestHandler):
    server: Greylist

    def handle(self) -> None:
        asked: dict[str, str] = {}
        for line in self.rfile:
            if line == b"\n":
                recipient = asked.get("recipient", "")
                known = recipient in self.server.seen
                self.server.seen.add(recipient)
                answer = b"dunno" if known else b"450 4.2.0 Greylisted, come again"
                self.wfile.write(b"action=" + answer + b"\n\n")
                asked = {}
            else:
                name, _, value = line.decode().rstrip("\n").partition("=")
                asked[name] = value


@dataclass
class Home:
    """Our door, as Postfix sees it: what came home, with its envelope."""

    mails: list[Envelope] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's)
        """Keep it."""
        self.mails.append(envelope)
        return "250 taken"

    def about(self, token: str) -> list[Envelope]:
        """The reports on the mail with ``token``, which came to the address that carries it."""
        return [mail for mail in self.mails if any(token in recipient for recipient in mail.rcpt_tos)]


@dataclass
class World:
    """A smarthost, a receiving site behind it, and our door, to which both report."""

    relay: Postfix
    home: Home

    def open(self) -> SmtpSmarthost:
        """Our side, with TLS."""
        chosen = config.Smarthost(
            kind="smtp", host="127.0.0.1", port=self.relay.port, tls="starttls", tls_ca_file=self.relay.certificate
        )
        return SmtpSmarthost(chosen, [SITE], "mailrouter.example")


@pytest.fixture(scope="module")
def world(server_folder: Path) -> Iterator[World]:
    """One Postfix in both parts: the second door is the site's, with its users, sizes and moods."""
    home, site, greylist = Home(), free_port(), Greylist()
    threading.Thread(target=greylist.serve_forever, daemon=True).start()
    door = Controller(home, hostname="127.0.0.1", port=free_port(), enable_SMTPUTF8=True)
    door.start()
    moods = (
        f"check_recipient_access inline:{{ {{okand@{SITE} = 550 5.1.1 User unknown}}, "
        f"{{full@{SITE} = 452 4.2.2 Mailbox full}}, {{sparr@{SITE} = 550 5.7.1 Sender refused}} }}"
    )
    policy = f"inet:127.0.0.1:{greylist.server_address[1]}"
    services = f"""
127.0.0.1:{site} inet n - n - - smtpd
  -o {{ smtpd_recipient_restrictions = {moods}, check_policy_service {policy}, permit }}
  -o message_size_limit=20000
  -o content_filter=discard:
"""
    settings = {
        "transport_maps": f"inline:{{ {SITE}=smtp:[127.0.0.1]:{site}, stad.example=smtp:[127.0.0.1]:{door.port} }}",
        "relay_domains": f"{SITE}, stad.example",
        "smtpd_recipient_restrictions": "permit_mynetworks, reject",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "1s",
        "queue_run_delay": "1s",
        "delay_warning_time": "1s",
        "maximal_queue_lifetime": "6s",
        "bounce_queue_lifetime": "60s",
    }
    with postfix(server_folder / "bounces-postfix", settings, services) as relay:
        yield World(relay, home)
    door.stop()
    greylist.shutdown()
    greylist.server_close()


def home_with(db: Store, *mails: Envelope) -> None:
    """Take what came home into the register, and read it."""
    arrivals = [
        Arrival(
            bytes(mail.original_content or b""),
            "smtp",
            delivery_key(),
            NOW,
            "" if mail.mail_from == "<>" else mail.mail_from or "",
            tuple(mail.rcpt_tos),
        )
        for mail in mails
    ]
    with db.write() as session:
        register(session, [entry_of(one) for one in arrivals], None, now=NOW, zone=ZONE, weeks=4)
    while reading.read_due(db, LampClassifier(), SETTINGS, NOW, organisation=city()):
        pass


def state(db: Store) -> tuple[str, str, list[tuple[str, str]], str]:
    """State of the case and its part, its mails as (recipient, state), and why it asks for attention."""
    with db.read() as session:
        case = session.exec(select(Case).order_by(col(Case.id)).limit(1)).one()
        part = session.exec(select(Assignment)).one()
        mails = session.exec(select(Dispatch).order_by(col(Dispatch.id))).all()
        return case.state, part.state, [(mail.recipient, mail.state) for mail in mails], case.attention


@pytest.fixture
def sqlite_store(tmp_path: Path, migrated_sqlite: bytes) -> Iterator[Store]:
    """One database, for what takes seconds and is about mail servers."""
    (tmp_path / "mailrouter.db").write_bytes(migrated_sqlite)
    opened = connect(config.Store(url=f"sqlite:///{tmp_path}/mailrouter.db"))
    yield opened
    opened.dispose()


def test_a_real_postfix_reports_each_fate(sqlite_store: Store, world: World) -> None:
    """Unknown user, full mailbox, sender refused, too large, greylisted: each comes home and is understood."""
    db, large, small = sqlite_store, b"Subject: s\r\n\r\n" + b"stor mejl\r\n" * 2_500, b"Subject: liten\r\n\r\nhej\r\n"
    fates = {"okand": "routed", "full": "routed", "sparr": "open", "stor": "open", "gra": "routed"}
    cases = {
        local: queue(db, recipient=f"{local}@{SITE}", original=large if local == "stor" else small) for local in fates
    }
    out = world.open()
    assert forward.send_due(db, out, Settings(city=config.City(domains=[SITE])), NOW) == len(fates)
    out.close()
    with db.read() as session:
        tokens = {mail.recipient.partition("@")[0]: mail.token for mail in session.exec(select(Dispatch))}
        channels = session.exec(select(Attempt.channel)).all()
    assert all(channel.startswith("TLSv1.") and channel.endswith("; DSN") for channel in channels)
    last = {name: b"Action: delivered" if name == "gra" else b"Action: failed" for name in fates}
    until(lambda: all(any(last[name] in _body(mail) for mail in world.home.about(tokens[name])) for name in fates), 40)
    assert {mail.mail_from for mail in world.home.mails} == {"<>"}
    home_with(db, *(mail for token in tokens.values() for mail in world.home.about(token)))
    with db.read() as session:
        found = {local: session.get_one(Case, key).state.value for local, key in cases.items()}
        full = session.exec(
            select(Dispatch).where(Dispatch.recipient == f"full@{SITE}").order_by(col(Dispatch.id))
        ).all()
        arrived = session.exec(select(Event).where(Event.case_id == cases["gra"], Event.kind == "sent")).all()
    assert found == fates
    assert [mail.state for mail in full] == ["failed", "queued"]
    assert arrived[-1].detail["action"] == "delivered"
    assert token_to(db, OTHER)


def _body(mail: Envelope) -> bytes:
    return bytes(mail.original_content or b"")


def bounce(
    token: str, *, to: str = "", status: str = "5.1.1", words: str = "550 5.1.1 User unknown", action: str = "failed"
) -> Envelope:
    """A report in Postfix's form; ``to`` is the address that it came to, which may have lost the token."""
    mail = Envelope()
    mail.mail_from, mail.rcpt_tos = "", [to or f"svar+{token}@stad.example"]
    mail.original_content = (
        f"From: MAILER-DAEMON@relay.example\r\nTo: {mail.rcpt_tos[0]}\r\nSubject: Undelivered Mail\r\n"
        f"Message-ID: <{words}@relay.example>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n--b\r\n\r\nSorry.\r\n--b\r\n'
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; relay.example\r\n\r\n"
        f"Final-Recipient: rfc822; stadsmiljo@stad.example\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {words}\r\n\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        f"From: kontaktcenter@stad.example\r\nMessage-ID: <{token}@stad.example>\r\n\r\n--b--\r\n"
    ).encode()
    return mail


def sent(db: Store) -> str:
    """A forward that the smarthost took; the token of the newest one."""
    while forward.send_due(db, Answering(Sent("250 taken")), SETTINGS, NOW, organisation=city()):
        pass
    return token_of(db)


def token_to(db: Store, recipient: str) -> str:
    """The token of the mail to ``recipient``."""
    with db.read() as session:
        return session.exec(select(Dispatch.token).where(Dispatch.recipient == recipient)).one()


def token_of(db: Store) -> str:
    """The token of the newest mail."""
    with db.read() as session:
        return session.exec(select(Dispatch.token).order_by(col(Dispatch.id).desc()).limit(1)).one()


def test_an_unknown_mailbox_gets_its_alternative_once(db: Store) -> None:
    """The mail goes to the unit's other mailbox and the desk is told; if that bounces too, the case comes back."""
    queue(db)
    home_with(db, bounce(sent(db)))
    assert state(db) == (
        "routed", "delivered", [("stadsmiljo@stad.example", "failed"), (OTHER, "queued")],
        f"Brevlådan stadsmiljo@stad.example finns inte. Mejlet till Stadsmiljöförvaltningen går nu till {OTHER}. "
        "Be driften rätta adressen.",
    )  # fmt: skip
    home_with(db, bounce(sent(db)))
    case, part, mails, _ = state(db)
    assert (case, part, [one for _, one in mails]) == ("open", "failed", ["failed", "failed"])


def test_an_unknown_mailbox_at_the_smarthost(db: Store) -> None:
    """The same when the smarthost itself knows; a refusal that is about something else tries no other mailbox."""
    queue(db)
    forward.send_due(db, Answering(Never("550 5.1.1 User unknown")), SETTINGS, NOW, organisation=city())
    assert state(db)[:3] == ("routed", "sending", [("stadsmiljo@stad.example", "failed"), (OTHER, "queued")])
    later = NOW + timedelta(minutes=1)
    forward.send_due(db, Answering(Never("550 5.7.1 Refused")), SETTINGS, later, organisation=city())
    assert state(db)[:2] == ("open", "failed")


def test_a_full_mailbox_is_tried_for_days(db: Store) -> None:
    """Each bounce queues the mail anew, hours later, until it was tried for as long as any other mail."""
    queue(db)
    full = {"status": "5.2.2", "words": "552 5.2.2 Mailbox full"}
    home_with(db, bounce(sent(db), **full))
    case, part, mails, attention = state(db)
    assert (case, part, [one for _, one in mails], attention) == ("routed", "delivered", ["failed", "queued"], "")
    with db.write() as session:
        again = session.exec(select(Dispatch).where(Dispatch.state == "queued")).one()
        assert again.due_at == NOW + timedelta(minutes=SETTINGS.forward.retry_minutes[-1])
        again.due_at = NOW
        again.detail = again.detail | {"first_created_at": (NOW - timedelta(days=5)).isoformat()}
    home_with(db, bounce(sent(db), **full))
    assert state(db)[:2] == ("open", "failed")
    assert "Mailbox full" in state(db)[3]


def test_a_bounce_to_an_address_that_lost_its_token(db: Store) -> None:
    """The Message-ID in the returned header brings it home; a person who quotes the same joins nothing."""
    queue(db)
    token = sent(db)
    home_with(db, bounce(token, to="svar@stad.example"))
    assert state(db)[2][0] == ("stadsmiljo@stad.example", "failed")
    with db.read() as session:  # no page is stale because a mail server said something
        assert session.exec(select(Event.kind).order_by(col(Event.id))).all()[-2:] == ["receipt", "send-delayed"]
    quoting = bounce(token, to="goteborg@stad.example")
    quoting.mail_from = "eva@stad.example"
    head = "From: eva@stad.example\r\nTo: goteborg@stad.example\r\nSubject: hej\r\n"
    quoting.original_content = f"{head}\r\n<{token}@stad.example>\r\n".encode()
    home_with(db, quoting)
    with db.read() as session:
        assert session.exec(select(Mail.disposition).order_by(col(Mail.id))).all()[1:] == ["joined", "case"]


def test_nothing_is_ever_sent_to_a_null_sender(db: Store) -> None:
    """Neither a bounce that comes home nor a stray one gets an answer of any kind."""
    queue(db)
    home_with(db, bounce(sent(db), status="5.7.1", words="550 5.7.1 Refused"))
    home_with(db, bounce("mr" + "2" * 24, to="goteborg@stad.example"))
    with db.read() as session:
        assert [mail.kind for mail in session.exec(select(Dispatch))] == ["forward"]
        assert [(case.wants_answer, case.contact) for case in session.exec(select(Case).order_by(col(Case.id)))][
            1:
        ] == [(False, "")]
