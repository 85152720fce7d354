"""The whole way with real servers: fifty mails by IMAP and SMTP, confirmed in Chromium, forwarded by Postfix."""

import re
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest
from imapclient import IMAPClient
from playwright.sync_api import Browser, Page
from sqlmodel import col, select

from mailrouter import demo
from mailrouter.store import Store
from mailrouter.tables import Assignment, Case, CaseState, Dispatch, DispatchState, RawMail
from tests.servers.dovecot import PASSWORD, Dovecot
from tests.servers.postfix import Postfix, into, postfix
from tests.service import RECIPIENT, Service
from tests.test_compose import carried
from tests.waiting import until

LETTERS = Path(__file__).parent / "letters"
COUNT = 50
LOGIN = ("demo", "synpunkt-demo")
BY_HAND = ["stadsmiljoforvaltningen", "kretslopp-och-vatten", "grundskoleforvaltningen", "miljoforvaltningen"]


@pytest.fixture(scope="module")
def smarthost(server_folder: Path, imap_server: Dovecot) -> Iterator[Postfix]:
    """Postfix with STARTTLS, and the förvaltningsbrevlådor in Dovecot behind it."""
    with postfix(server_folder / "smarthost", into(imap_server, "stad.example")) as server:
        yield server


def _mails() -> list[bytes]:
    """Fifty varied mails: the demo's and those that test the reading of letters, with the line ends mail has."""
    letters = [file.read_bytes() for file in sorted(LETTERS.glob("*.eml"))]
    chosen = [*demo.demo_mails().values(), *letters[:: max(1, len(letters) // COUNT)], *letters]
    plain = [re.sub(rb"\r\n|\r|\n", b"\r\n", octets) for octets in chosen if octets.strip() and b"\0" not in octets]
    return [octets if octets.endswith(b"\r\n") else octets + b"\r\n" for octets in dict.fromkeys(plain)][:COUNT]


def _configuration(server: Dovecot, smarthost: Postfix, user: str) -> str:
    return f"""
[[imap]]
name = "stad"
host = "localhost"
port = {server.imaps}
tls_ca_file = "{server.certificate}"
user = "{user}"
password = "{PASSWORD}"
move_to = "Registrerat"

[smarthost]
kind = "smtp"
host = "localhost"
port = {smarthost.port}
tls = "starttls"
tls_ca_file = "{smarthost.certificate}"
"""


def _mailbox(server: Dovecot, user: str) -> IMAPClient:
    client = IMAPClient("127.0.0.1", server.imap, ssl=False, timeout=20)
    client.login(user, PASSWORD)
    return client


def _confirm(page: Page, service: Service, number: str, by_hand: str) -> None:
    """As a servicevägledare: take the suggestion when one is marked, else choose from the list."""
    page.goto(f"{service.desk}/arende/{number}")
    if not page.locator("input[name=val]:checked").count():
        page.locator("#annan-val").check()
        page.locator("#annan").select_option(f"{by_hand}|")
    page.locator("#bekrafta-knapp").click()
    page.wait_for_load_state()


def _cases(db: Store) -> list[Case]:
    with db.read() as session:
        return list(session.exec(select(Case).order_by(col(Case.id))))


def _sent(db: Store) -> int:
    with db.read() as session:
        return len(session.exec(select(Dispatch).where(Dispatch.state == DispatchState.SENT)).all())


def test_fifty_mails_go_the_whole_way(
    db: Store, store_url: str, tmp_path: Path, imap_server: Dovecot, smarthost: Postfix, browser: Browser
) -> None:
    """Each lands in the mailbox of the förvaltning that was chosen, its original identical to the last byte."""
    user = f"goteborg-{tmp_path.name[-12:]}"
    service = Service(tmp_path / "service", store_url, _configuration(imap_server, smarthost, user))
    mails = _mails()
    with _mailbox(imap_server, user) as box:
        box.create_folder("Registrerat")
        for octets in mails[::2]:
            box.append("INBOX", octets)
        service.start("--demo")
        try:
            with smtplib.SMTP("127.0.0.1", service.smtp_port, timeout=30) as door:
                for octets in mails[1::2]:
                    door.sendmail("medborgare@post.example", [RECIPIENT], octets)
            until(lambda: box.folder_status("Registrerat", "MESSAGES")[b"MESSAGES"] == len(mails[::2]), 90)
            until(lambda: len(_cases(db)) >= COUNT and all(c.last_event > 1 for c in _cases(db)), 90)
            page = browser.new_page(java_script_enabled=False)
            page.goto(service.desk)
            page.get_by_label("Användarnamn").fill(LOGIN[0])
            page.get_by_label("Lösenord").fill(LOGIN[1])
            page.get_by_role("button", name="Logga in").click()
            waiting = [case for case in _cases(db) if case.state is CaseState.OPEN]
            for index, case in enumerate(waiting):
                _confirm(page, service, case.number, BY_HAND[index % len(BY_HAND)])
            until(lambda: _sent(db) == len(waiting), 120)
            assert {case.state for case in _cases(db)} <= {CaseState.ROUTED, CaseState.QUARANTINED}
            assert service.json("reconcile")["balanced"]
            assert service.json("verify")["holds"]
            assert service.stop() == 0
        except AssertionError as error:
            raise AssertionError(f"{error}\n{service.log()[-3000:]}\n{smarthost.log()[-2000:]}") from error
        finally:
            service.kill()
    _assert_in_the_right_mailboxes(db, imap_server, mails)


def _assert_in_the_right_mailboxes(db: Store, server: Dovecot, mails: list[bytes]) -> None:
    """What the registrators have is what the citizens sent, each where the register says."""
    with db.read() as session:
        routed = session.exec(
            select(Dispatch.token, Assignment.unit, Case.number, RawMail.octets)
            .join(Assignment, col(Assignment.id) == Dispatch.assignment_id)
            .join(Case, col(Case.id) == Dispatch.case_id)
            .join(RawMail, col(RawMail.mail_id) == Dispatch.mail_id)
        ).all()
    assert len(routed) >= COUNT
    received: dict[str, bytes] = {}
    for unit in {unit for _, unit, _, _ in routed}:
        with _mailbox(server, unit) as box:
            box.select_folder("INBOX", readonly=True)
            for fetched in box.fetch(box.search(), ["BODY.PEEK[]"]).values():
                octets = fetched[b"BODY[]"]
                message_id = re.search(rb"Message-ID: <([^@>]+)@", octets, re.IGNORECASE)
                assert message_id is not None
                received[f"{unit}/{message_id[1].decode()}"] = octets
    for token, unit, number, original in routed:
        octets = received[f"{unit}/{token}"]
        assert f"[{number}]".encode() in octets
        assert carried(octets) == original
    assert {original for _, _, _, original in routed} >= set(mails)
