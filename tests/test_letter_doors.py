"""Every odd mail through the real doors: the octets stay what they were, and each mail is in exactly one state."""

from datetime import UTC, datetime
from pathlib import Path

from sqlmodel import col, select

from mailrouter.config import ImapAccount, Settings, Smtp
from mailrouter.doors.run import Doors
from mailrouter.letter import Nature
from mailrouter.reports.reconcile import reconcile
from mailrouter.store import Store
from mailrouter.tables import Case, CaseState, Dispatch, Disposition, Mail, RawMail
from tests.register import read
from tests.servers.dovecot import PASSWORD, Dovecot
from tests.servers.postgres import free_port
from tests.smtp_client import RECIPIENT, RawSmtp
from tests.waiting import until

LETTERS = {file.stem: file.read_bytes() for file in sorted((Path(__file__).parent / "letters").glob("*.eml"))}


def _wire(octets: bytes) -> bytes:
    """Dots stuffed after CRLF alone (RFC 5321 4.5.2), so that every other octet goes as it is."""
    ended = octets if octets.endswith(b"\r\n") else octets + b"\r\n"
    return (b"\r\n" + ended).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


def test_smtp_keeps_every_octet(db: Store) -> None:
    """What was sent after DATA is what is stored, whatever it is; nothing is ever sent back."""
    port = free_port()
    doors = Doors(db, Settings(smtp=Smtp(listen=f"127.0.0.1:{port}", recipients=[RECIPIENT])))
    doors.start()
    sent: dict[str, bytes] = {}
    try:
        client = RawSmtp(("127.0.0.1", port))
        client.envelope()
        for name, octets in LETTERS.items():
            if sent:
                client.transaction()
            client.send(_wire(octets))
            reply = client.reply()
            assert reply.startswith("250"), f"{name}: {reply}"
            sent[name] = octets if octets.endswith(b"\r\n") else octets + b"\r\n"
        client.close()
    finally:
        doors.close()
    _assert_kept(db, set(sent.values()), len(LETTERS))


def test_imap_keeps_every_octet(db: Store, imap_server: Dovecot, tmp_path: Path) -> None:
    """What the mailbox server hands out is what is stored."""
    user = f"odd-{tmp_path.name[-20:]}"
    letters = [octets.replace(b"\0", b"?") for octets in LETTERS.values() if octets]  # no NUL, not nothing: RFC 3501 9
    with imap_server.client(user) as box:
        for octets in letters:
            box.append("INBOX", octets)
        box.select_folder("INBOX", readonly=True)
        handed_out = {mail[b"BODY[]"] for mail in box.fetch(box.search(), ["BODY.PEEK[]"]).values()}
    account = ImapAccount(
        name="odd", host="127.0.0.1", port=imap_server.imap, tls="none", user=user, password=PASSWORD
    )  # fmt: skip
    doors = Doors(db, Settings(imap=[account], smtp=Smtp(listen="")))
    doors.start()
    try:
        until(lambda: _count(db) >= len(letters), 60)
    finally:
        doors.close()
    _assert_kept(db, handed_out, len(letters))


def _count(db: Store) -> int:
    with db.read() as session:
        return len(session.exec(select(col(Mail.id))).all())


def _assert_kept(db: Store, expected: set[bytes], count: int) -> None:
    """The register holds these octets and no others, each as one case; what is the same mail is counted as a copy."""
    read(db, acknowledge=True, now=datetime.now(UTC))
    with db.read() as session:
        stored = session.exec(select(RawMail.octets)).all()
        mails = session.exec(select(Mail)).all()
        states = {case.state for case in session.exec(select(Case))}
        assert set(stored) <= expected
        assert len(stored) == sum(mail.disposition is Disposition.CASE for mail in mails)
        assert len(mails) == count
        assert states <= {CaseState.OPEN, CaseState.QUARANTINED}
        assert reconcile(session)["balanced"]
        told = session.exec(
            select(Mail.nature).join(Dispatch, col(Dispatch.mail_id) == Mail.id).where(Dispatch.recipient != "")
        ).all()
        assert session.exec(select(Mail).where(Mail.nature == "", Mail.disposition == Disposition.CASE)).all() == []
    assert set(told) == {Nature.HUMAN, Nature.FORM}  # people are told, and no robot ever
    copies = {mail.identity for mail in mails if mail.disposition is Disposition.DUPLICATE}
    assert copies <= {mail.identity for mail in mails if mail.disposition is Disposition.CASE}
