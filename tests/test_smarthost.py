"""The way out: the built-in Maildirs, and SMTP against servers that behave and servers that do not."""

import asyncio
import email
import email.policy
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlmodel import select

from mailrouter import config, forward, number, organisation, smarthost, triage
from mailrouter.smarthost import Later, MaildirSmarthost, Never, Outcome, Sent, SmtpSmarthost
from mailrouter.store import Store
from mailrouter.tables import Assignment, Dispatch, Event
from tests import test_compose
from tests.clock import NOW
from tests.mails import octets as anna
from tests.register import take_and_read
from tests.servers.dovecot import PASSWORD, Dovecot, certificate, dovecot
from tests.servers.postfix import Postfix, into, postfix
from tests.servers.postgres import free_port
from tests.waiting import until

DOMAINS = ["stad.example", "Götene.example"]
SENDER = "svar+mr22222222222222222222222a@stad.example"
RECIPIENT = "stadsmiljo@stad.example"
MAIL = b"Subject: hej\r\n\r\n.punkt\r\n..tv\xc3\xa5 punkter\r\n"


# The built-in Maildirs


def test_a_maildir_gets_the_octets(tmp_path: Path) -> None:
    """Each mail is one new file with the octets as they are, and nothing is left half written."""
    out = MaildirSmarthost(tmp_path, DOMAINS)
    replies = [out.send(SENDER, "StadsMiljo@stad.example", octets) for octets in (MAIL, b"Subject: igen\r\n\r\n")]
    assert all(isinstance(reply, Sent) for reply in replies)
    files = sorted((tmp_path / RECIPIENT / "new").iterdir(), key=lambda file: file.stat().st_size)
    assert [file.read_bytes() for file in files] == [b"Subject: igen\r\n\r\n", MAIL]
    assert list((tmp_path / RECIPIENT / "tmp").iterdir()) == []
    assert (tmp_path / RECIPIENT / "cur").is_dir()


@pytest.mark.parametrize(
    "recipient",
    [
        "", "stadsmiljo", "@stad.example", "../x@stad.example", "a/b@stad.example", ".dold@stad.example",
        "..@stad.example", "a..b@stad.example", "anna@example.se", "a@b@stad.example", "a@sub.stad.example",
        "anna%example.se@stad.example", "example.se!anna@stad.example", '"a b"@stad.example', "a b@stad.example",
        "a@stad.example\r\nRCPT TO:<anna@example.se>", "a@stad.example>", "a\0@stad.example",
        "a@stad.example ", f"{'a' * 250}@stad.example", "a@xn--gtene\N{COMBINING DIAERESIS}.example",
    ],
)  # fmt: skip
def test_only_plain_addresses_of_the_city_get_mail(recipient: str, tmp_path: Path) -> None:
    """An address outside the city, or one that could mean a path, a command or a detour, gets nothing, ever."""
    root = tmp_path / "mailboxes"
    assert isinstance(MaildirSmarthost(root, DOMAINS).send(SENDER, recipient, MAIL), Never)
    assert not root.exists()
    smtp = config.Smarthost(kind="smtp", host="127.0.0.1", port=1, tls="none")  # would say Later if it were asked
    assert isinstance(SmtpSmarthost(smtp, DOMAINS, "mailrouter.example").send(SENDER, recipient, MAIL), Never)


def test_a_mailbox_that_cannot_be_written_is_tried_later(tmp_path: Path) -> None:
    """A disk that refuses is no reason to give the mail up."""
    (tmp_path / RECIPIENT).write_text("not a folder")
    outcome = MaildirSmarthost(tmp_path, DOMAINS).send(SENDER, RECIPIENT, MAIL)
    assert isinstance(outcome, Later)
    assert "brevlådan" in outcome.reply


def test_the_settings_choose(tmp_path: Path) -> None:
    """Without configuration nothing leaves the machine; a CA file that cannot be read stops the start."""
    assert isinstance(smarthost.open_smarthost(config.Settings()), MaildirSmarthost)
    smtp = config.Smarthost(kind="smtp", host="relay.example", tls_ca_file=tmp_path / "missing.pem")
    with pytest.raises(config.ConfigError, match=r"smarthost\.tls_ca_file"):
        smarthost.open_smarthost(config.Settings(smarthost=smtp))


# A server that behaves


class Box:
    """What an aiosmtpd server got, and how it presents itself."""

    def __init__(self, drop: str = "", add: str = "") -> None:
        self.drop, self.add = drop, add
        self.mails: list[Envelope] = []
        self.sessions: set[int] = set()
        self.tls: list[bool] = []
        self.open = self.most = 0

    async def handle_EHLO(  # noqa: N802 (the name is aiosmtpd's)
        self, server: Any, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """Offer one keyword more or less."""
        session.host_name = hostname
        kept = [line for line in responses if not self.drop or self.drop not in line]
        return kept[:-1] + ([f"250-{self.add}"] if self.add else []) + kept[-1:]

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the mail; wait a little, so that connections that overlap are seen to overlap."""
        self.mails.append(envelope)
        self.sessions.add(id(session))
        self.tls.append(session.ssl is not None)
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(0.005)
        self.open -= 1
        return "250 2.0.0 Ok: queued as 4711"


@contextmanager
def server(box: Box, **options: Any) -> Iterator[int]:
    """An aiosmtpd server on a free port."""
    controller = Controller(box, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def client(port: int, **options: Any) -> SmtpSmarthost:
    """A smarthost on the loopback address, without TLS unless told."""
    chosen = {"kind": "smtp", "host": "127.0.0.1", "port": port, "tls": "none", "timeout_seconds": 20} | options
    return SmtpSmarthost(config.Smarthost(**chosen), DOMAINS, "mailrouter.example")


@pytest.mark.parametrize("add", ["", "PIPELINING"])
def test_smtp_hands_over(add: str) -> None:
    """Envelope, octets and the server's words are exact, with and without pipelining; one connection serves all."""
    box = Box(add=add)
    with server(box, data_size_limit=100_000) as port:
        out = client(port)
        outcomes = [out.send(SENDER, RECIPIENT, MAIL) for _ in range(3)]
        out.close()
    assert outcomes == [Sent("250 2.0.0 Ok: queued as 4711", "okrypterad")] * 3
    assert [mail.original_content for mail in box.mails] == [MAIL] * 3
    assert {(mail.mail_from, *mail.rcpt_tos) for mail in box.mails} == {(SENDER, RECIPIENT)}
    assert box.mails[0].mail_options == [f"SIZE={len(MAIL)}", "BODY=8BITMIME"]
    assert len(box.sessions) == 1


@pytest.fixture(scope="module")
def echo() -> Iterator[tuple[Box, SmtpSmarthost]]:
    """A server and a client for many mails."""
    box = Box(add="PIPELINING")
    with server(box, data_size_limit=10_000_000) as port:
        out = client(port)
        yield box, out
        out.close()


LINE = st.binary(max_size=80).map(lambda line: line.replace(b"\r", b".").replace(b"\n", b"."))


@effort(deadline=None, max_examples=60)
@given(lines=st.lists(LINE | st.sampled_from([b".", b"..", b"", b".\xff"]), min_size=1))
def test_lines_arrive_as_they_were(echo: tuple[Box, SmtpSmarthost], lines: list[bytes]) -> None:
    """Whatever the lines hold, dots at their beginning above all, the other side gets the same octets."""
    box, out = echo
    octets = b"".join(line + b"\r\n" for line in lines)
    assert isinstance(out.send(SENDER, RECIPIENT, octets), Sent)
    assert box.mails[-1].original_content == octets


def test_a_large_mail_arrives_whole(echo: tuple[Box, SmtpSmarthost]) -> None:
    """Several megabytes, with dots where the pieces meet, are the same octets at the other end."""
    box, out = echo
    octets = b"x\r\n" + b".......\r\n" * 400_000
    assert isinstance(out.send(SENDER, RECIPIENT, octets), Sent)
    assert box.mails[-1].original_content == octets


@pytest.mark.parametrize("octets", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\nb\r\n"])
def test_a_bare_line_end_is_not_sent(echo: tuple[Box, SmtpSmarthost], octets: bytes) -> None:
    """A bare CR or LF could smuggle a second mail past a relay; it never reaches the wire."""
    box, out = echo
    count = len(box.mails)
    assert isinstance(out.send(SENDER, RECIPIENT, octets), Never)
    assert len(box.mails) == count


def test_connections_are_capped() -> None:
    """Ten threads share two connections."""
    box = Box()
    with server(box) as port:
        out = client(port, connections=2)
        with ThreadPoolExecutor(10) as pool:
            outcomes = list(pool.map(lambda _: out.send(SENDER, RECIPIENT, MAIL), range(30)))
        out.close()
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert box.most <= 2
    assert len(box.sessions) <= 2


def test_a_server_that_came_back_is_found_again() -> None:
    """A connection that died while it lay idle is replaced before the mail is tried; a server that is gone is later."""
    box = Box()
    with server(box) as port:
        out = client(port)
        assert isinstance(out.send(SENDER, RECIPIENT, MAIL), Sent)
    gone = out.send(SENDER, RECIPIENT, MAIL)
    assert isinstance(gone, Later)
    assert f"127.0.0.1:{port}" in gone.reply
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        assert isinstance(out.send(SENDER, RECIPIENT, MAIL), Sent)
    finally:
        out.close()
        controller.stop()
    assert len(box.mails) == 2


def test_what_the_server_does_not_offer() -> None:
    """Too large is for good; 8-bit lines wait for a server that takes them; å in a mailbox needs SMTPUTF8."""
    with server(Box(), data_size_limit=20) as port:
        outcome = client(port).send(SENDER, RECIPIENT, MAIL)
        assert outcome == Never(f"Mejlet är {len(MAIL)} byte och smarthosten tar emot högst 20.", "okrypterad")
    with server(Box(drop="8BITMIME"), enable_SMTPUTF8=False) as port:
        assert isinstance(client(port).send(SENDER, RECIPIENT, MAIL), Later)
        assert isinstance(client(port).send(SENDER, RECIPIENT, b"Subject: hej\r\n\r\n"), Sent)
        assert isinstance(client(port).send(SENDER, "miljö@stad.example", b"Subject: hej\r\n\r\n"), Never)


def test_an_address_with_letters_of_ours() -> None:
    """A mailbox with å, ä, ö goes out as SMTPUTF8 (RFC 6531), and a domain in the form the DNS knows."""
    box = Box()
    with server(box, enable_SMTPUTF8=True) as port:
        assert isinstance(client(port).send(SENDER, "miljö@götene.example", MAIL), Sent)
    assert box.mails[0].rcpt_tos == ["miljö@xn--gtene-jua.example"]
    assert box.mails[0].smtp_utf8


# TLS and login


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(pem: tuple[Path, Path]) -> ssl.SSLContext:
    """The server's side of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pem)
    return context


def test_starttls(pem: tuple[Path, Path], tls: ssl.SSLContext) -> None:
    """With STARTTLS the mail travels encrypted; a certificate nobody vouches for, or no offer, means later."""
    box = Box()
    with server(box, tls_context=tls) as port:
        assert isinstance(client(port, tls="starttls", tls_ca_file=pem[0]).send(SENDER, RECIPIENT, MAIL), Sent)
        stranger = client(port, tls="starttls").send(SENDER, RECIPIENT, MAIL)
    with server(box) as port:
        without = client(port, tls="starttls", tls_ca_file=pem[0]).send(SENDER, RECIPIENT, MAIL)
    assert isinstance(stranger, Later)
    assert "certifikat" in stranger.reply
    assert isinstance(without, Later)
    assert "STARTTLS" in without.reply
    assert box.tls == [True]


def test_implicit_tls(pem: tuple[Path, Path], tls: ssl.SSLContext) -> None:
    """With implicit TLS the connection is encrypted from its first octet."""
    box = Box()
    with server(box, ssl_context=tls) as port:
        out = client(port, tls="implicit", tls_ca_file=pem[0])
        assert isinstance(out.send(SENDER, RECIPIENT, MAIL), Sent)
        out.close()
    assert len(box.mails) == 1


def _authenticate(server: Any, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"router", b"hemligt")
    return AuthResult(success=good, handled=good)


def test_login(pem: tuple[Path, Path], tls: ssl.SSLContext) -> None:
    """The right password opens; a wrong one is our mistake, so the mail waits and the reason is clear."""
    box = Box()
    options: dict[str, Any] = {"tls_context": tls, "auth_required": True, "authenticator": _authenticate}
    secure: dict[str, Any] = {"tls": "starttls", "tls_ca_file": pem[0], "user": "router"}
    with server(box, **options) as port:
        assert isinstance(client(port, **secure, password=SecretStr("hemligt")).send(SENDER, RECIPIENT, MAIL), Sent)
        wrong = client(port, **secure, password=SecretStr("fel")).send(SENDER, RECIPIENT, MAIL)
        stranger = client(port, tls="starttls", tls_ca_file=pem[0]).send(SENDER, RECIPIENT, MAIL)
    assert isinstance(wrong, Later)
    assert "smarthost.user" in wrong.reply
    assert "535" in wrong.reply
    assert isinstance(stranger, Later)
    assert stranger.reply.startswith("530")
    assert len(box.mails) == 1


# Servers that do not behave


class Peer:
    """A server that says what it is told, by command; "" ends the connection, None never answers."""

    def __init__(self, **replies: str | None) -> None:
        self.replies: dict[str, str | None] = {
            "greeting": "220 peer", "EHLO": "250 peer", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go",
            "RSET": "250 ok", "QUIT": "221 bye", "end": "250 taken", **replies,
        }  # fmt: skip
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.done = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rwb") as stream:  # the client may leave at any time
            going = self._say(stream, "greeting")
            while going and (line := stream.readline()):
                verb = line[:4].decode().upper()
                going = self._say(stream, verb)
                if going and verb == "DATA" and str(self.replies["DATA"]).startswith("354"):
                    going = b".\r\n" in stream and self._say(stream, "end")

    def _say(self, stream: Any, when: str) -> bool:
        reply = self.replies[when]
        if reply is None:
            self.done.wait(30)
        if not reply:
            return False
        stream.write(f"{reply}\r\n".encode())
        stream.flush()
        return True

    def close(self) -> None:
        """Listen no more."""
        self.done.set()
        self.socket.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    """Makes peers."""
    made: list[Peer] = []

    def make(**replies: str | None) -> Peer:
        made.append(Peer(**replies))
        return made[-1]

    yield make
    for one in made:
        one.close()


PLAIN = b"Subject: hej\r\n\r\nhej\r\n"
WRONG = [
    ({"greeting": "554 5.7.1 go away"}, Later, "554 5.7.1 go away"),
    ({"greeting": "421 4.3.2 busy"}, Later, "421 4.3.2 busy"),
    ({"greeting": ""}, Later, "127.0.0.1"),
    ({"greeting": "who are you"}, Later, "127.0.0.1"),
    ({"EHLO": "550 no", "HELO": "550 no"}, Later, "550 no"),
    ({"MAIL": "451 4.3.0 later"}, Later, "451 4.3.0 later"),
    ({"MAIL": "421 4.7.0 too many"}, Later, "421 4.7.0 too many"),
    ({"MAIL": "550 5.7.1 sender refused"}, Later, "forward.reply_address"),
    ({"MAIL": "530 5.7.0 log in"}, Later, "530 5.7.0 log in"),
    ({"MAIL": "552 5.3.4 too large"}, Never, "552 5.3.4 too large"),
    ({"RCPT": "450 4.2.0 greylisted"}, Later, "450 4.2.0 greylisted"),
    ({"RCPT": "452 4.2.2 mailbox full"}, Later, "452 4.2.2 mailbox full"),
    ({"RCPT": "550 5.1.1 unknown"}, Never, "550 5.1.1 unknown"),
    ({"RCPT": "550-5.1.1 no such\r\n550 5.1.1 user"}, Never, "550 5.1.1 no such 5.1.1 user"),
    ({"RCPT": "550 5.1.1 odd\0\x1b[31m words"}, Never, "550 5.1.1 odd [31m words"),
    ({"RCPT": "530 5.7.0 log in"}, Later, "530 5.7.0 log in"),
    ({"RCPT": "251 will forward"}, Sent, "250 taken"),
    ({"RCPT": "354 what"}, Later, "354 what"),
    ({"RCPT": ""}, Later, "bröts"),
    ({"DATA": "554 5.5.1 no recipients"}, Never, "554 5.5.1 no recipients"),
    ({"DATA": "451 4.3.1 disk full"}, Later, "451 4.3.1 disk full"),
    ({"DATA": "250 what"}, Later, "250 what"),
    ({"end": "550 5.7.1 content refused"}, Never, "550 5.7.1 content refused"),
    ({"end": "452 4.3.1 disk full"}, Later, "452 4.3.1 disk full"),
    ({"end": "nonsense"}, Later, "-1"),
    ({"end": ""}, Later, "kan ändå ha kommit fram"),
]


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize(("replies", "outcome", "words"), WRONG)
def test_temporary_and_permanent_are_told_apart(
    peer: Callable[..., Peer], replies: dict[str, str], outcome: type, words: str, pipelining: bool
) -> None:
    """What the server says at each step of the dialogue decides between sent, later and never."""
    offer = {"EHLO": "250-peer\r\n250 PIPELINING"} if pipelining else {}
    told = client(peer(**(offer | replies)).port).send(SENDER, RECIPIENT, PLAIN)
    assert isinstance(told, outcome)
    assert words in told.reply


@pytest.mark.parametrize("when", ["greeting", "RCPT", "end"])
def test_a_silent_server_is_given_up(peer: Callable[..., Peer], when: str) -> None:
    """A server that never answers costs timeout_seconds, not for ever."""
    told = client(peer(**{when: None}).port, timeout_seconds=1).send(SENDER, RECIPIENT, PLAIN)
    assert isinstance(told, Later)
    assert "timed out" in told.reply


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "end"])
def test_a_refusal_does_not_spoil_the_next_mail(peer: Callable[..., Peer], verb: str, pipelining: bool) -> None:
    """After a refusal, wherever it came, the next mail goes through and replies are not mistaken for others."""
    offer = "250-peer\r\n250 PIPELINING" if pipelining else "250 peer"
    server = peer(**{"EHLO": offer, verb: "452 4.3.1 disk full"})
    out = client(server.port)
    assert isinstance(out.send(SENDER, RECIPIENT, PLAIN), Later)
    server.replies[verb] = "354 go" if verb == "DATA" else "250 ok"
    assert isinstance(out.send(SENDER, RECIPIENT, PLAIN), Sent)


# The real ones: Postfix as smarthost, Dovecot behind it


@dataclass(frozen=True)
class Mailroom:
    """A Postfix that hands to a Dovecot."""

    postfix: Postfix
    dovecot: Dovecot

    def open(self, **options: Any) -> SmtpSmarthost:
        """Our side, with STARTTLS and a login."""
        secure = {"tls": "starttls", "tls_ca_file": self.postfix.certificate, "user": "router", "password": PASSWORD}
        return client(self.postfix.port, **secure | options)


@pytest.fixture(scope="module")
def mailroom(server_folder: Path) -> Iterator[Mailroom]:
    """Both servers, for the length of this module; only three addresses exist."""
    with dovecot(server_folder / "smarthost-dovecot") as boxes:
        boxes_known = "stadsmiljo@stad.example=ok, stadsarkiv@stad.example=ok, svar@stad.example=ok"
        known = {"virtual_mailbox_maps": f"inline:{{ {boxes_known} }}", "recipient_delimiter": "+"}
        with postfix(server_folder / "smarthost-postfix", into(boxes, "stad.example") | known) as relay:
            yield Mailroom(relay, boxes)


def test_postfix_takes_refuses_and_is_away(mailroom: Mailroom) -> None:
    """Postfix's own words come back: its queue id, its unknown user; while it is stopped the mail waits."""
    out = mailroom.open()
    sent = out.send(SENDER, RECIPIENT, MAIL)
    assert isinstance(sent, Sent)
    assert "queued as" in sent.reply
    refused = out.send(SENDER, "okand@stad.example", MAIL)
    assert isinstance(refused, Never)
    assert refused.reply.startswith("550 5.1.1")
    mailroom.postfix.kill()
    try:
        assert isinstance(out.send(SENDER, RECIPIENT, MAIL), Later)
    finally:
        mailroom.postfix.start()
    assert isinstance(out.send(SENDER, RECIPIENT, MAIL), Sent)
    out.close()
    mails = until(lambda: mails if len(mails := mailroom.dovecot.mails("stadsmiljo")) >= 2 else [])
    assert [mail.partition(b"\r\n\r\n")[2] for mail in mails] == [MAIL.partition(b"\r\n\r\n")[2]] * 2


def test_originals_survive_postfix_and_dovecot(mailroom: Mailroom) -> None:
    """Behind real servers the original has the same sha256 as when it came, whatever it looks like."""
    originals = {number.new_token(): original for original in odd_originals()}
    out = mailroom.open(connections=2)

    def send(token: str) -> Outcome:
        octets = test_compose.forward(originals[token], token=token)
        return out.send(f"svar+{token}@stad.example", "stadsarkiv@stad.example", octets)

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(send, originals))
    out.close()
    assert [outcome for outcome in outcomes if not isinstance(outcome, Sent)] == []
    arrived = until(lambda: mails if len(mails := mailroom.dovecot.mails("stadsarkiv")) == len(originals) else [], 60)
    for mail in arrived:
        token = email.message_from_bytes(mail)["Message-ID"][1:].partition("@")[0]
        assert sha256(test_compose.carried(mail)).digest() == sha256(originals[token]).digest()


def test_a_reply_comes_home_through_real_servers(mailroom: Mailroom, db: Store) -> None:
    """A registrator answers what lies in the mailbox; Postfix and Dovecot bring it home, and the case is answered."""
    (taken,) = take_and_read(db, anna())
    settings = config.Settings()
    with db.write() as session:
        triage.confirm(
            session, taken.case_id, [triage.Choice("stadsmiljoforvaltningen")], seen=None, actor="maria", now=NOW,
            organisation=organisation.load(settings.classify.organisation), settings=settings,
        )  # fmt: skip
        queued = session.exec(select(Dispatch).where(Dispatch.kind == "forward")).one()
        queued.recipient = RECIPIENT
    out = mailroom.open()
    while forward.send_due(db, out, settings, NOW):
        pass
    mails = until(lambda: [mail for mail in mailroom.dovecot.mails("stadsmiljo") if queued.token.encode() in mail])
    forwarded = email.message_from_bytes(mails[0], policy=email.policy.default)
    answer = EmailMessage()
    answer["From"], answer["To"], answer["Subject"] = RECIPIENT, forwarded["Reply-To"], f"SV: {forwarded['Subject']}"
    answer["In-Reply-To"] = forwarded["Message-ID"]
    quoted = f"Från: {forwarded['From']}\nSkickat: den 2 mars 2026 09:20\nTill: S\nÄmne: {forwarded['Subject']}\n\n"
    note = forwarded.get_body()
    answer.set_content(f"Dnr 0263/26. Besvarat.\n\nMvh Eva\n\n{quoted}{note.get_content() if note else ''}")
    home = forwarded["Reply-To"].addresses[0].addr_spec
    assert isinstance(out.send(RECIPIENT, home, answer.as_bytes(policy=email.policy.SMTP)), Sent)
    out.close()
    came = until(
        lambda: (
            mails
            if len(mails := [mail for mail in mailroom.dovecot.mails("svar") if queued.token.encode() in mail]) == 2
            else []
        )
    )
    take_and_read(db, *came)
    with db.read() as session:
        part = session.exec(select(Assignment)).one()
        told = [event.detail.get("action") for event in session.exec(select(Event).where(Event.kind == "sent"))]
    assert (part.state, part.external_number) == ("answered", "0263/26")
    assert told == [None, "relayed"]  # Postfix's own report came to the same address


def odd_originals() -> list[bytes]:
    """The named ones, and two hundred made of pieces that relays have opinions about."""
    chance = random.Random(2026)
    pieces = [
        b"From: a@example.se", b"Subject: r\xe5tt", b"X :y", b"X:", b": z", b"", b"", b" ", b"\tfold", b"no colon",
        b"--b", b"--b--", b"--c", b"Content-Type: multipart/mixed; boundary=b", b" boundary=\"c\"", b"From bob Mon",
        b"Content-Type: message/rfc822", b"Content-Transfer-Encoding: base64", b"Bcc: q@example.se", b".", b"trail  ",
        b"Content-Type: multipart/digest; boundary=c", b"Delivered-To: z@example.se", b"x" * 998, b"\x01\x7f\xff\x0c",
    ]  # fmt: skip
    made = [b"\r\n".join(chance.choices(pieces, k=chance.randint(1, 25))) for _ in range(200)]
    return [*test_compose.TRANSPARENT.values(), *test_compose.NOT_TRANSPARENT.values(), *made]
