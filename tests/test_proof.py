"""Evidence: signatures that verify, reports that are asked for, nothing sensitive in clear, and all of it printed."""

import base64
import hashlib
import json
import random
import smtplib
import subprocess
from collections.abc import Callable
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path

import dkim
import pytest
from click.testing import CliRunner
from sqlmodel import col, select

from mailrouter import config, evidence, forward
from mailrouter.cli import commands
from mailrouter.compose.signature import signer
from mailrouter.config import ConfigError, Settings
from mailrouter.smarthost import Later, MaildirSmarthost, Sent
from mailrouter.smarthost.transaction import Parcel, transact
from mailrouter.store import Store
from mailrouter.tables import Attempt, Case, Dispatch, Event, Mail, RawMail
from tests.clock import NOW
from tests.register import take
from tests.test_forward import LATER, ORIGINAL, UNIT, Answering, queue

MAIL = (
    b"From: k@stad.example\r\nTo: s@stad.example\r\nSubject: hej\r\nX-Mailrouter-Case: 26-2222-Q\r\n"
    b"\r\nHej \xc3\xa5\r\n"
)


def _openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module", params=["rsa", "ed25519"])
def key(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A private key in PEM, and what the DNS says of its public half."""
    file = tmp_path_factory.mktemp("dkim") / "key.pem"
    sort = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if request.param == "rsa" else ["ED25519"]
    file.write_text(_openssl("genpkey", "-algorithm", *sort))
    der = base64.b64decode("".join(_openssl("pkey", "-in", str(file), "-pubout").split("-----")[2].split()))
    public = der if request.param == "rsa" else der[-32:]
    return file, b"v=DKIM1; k=" + request.param.encode() + b"; p=" + base64.b64encode(public)


def dns(record: bytes) -> Callable[..., bytes]:
    """A DNS that knows one key."""
    return lambda name, **_: record if name == b"2026a._domainkey.stad.example." else b""


def signing(file: Path) -> config.Forward:
    """Settings that sign with ``file``."""
    return config.Forward(dkim_key_file=file, dkim_selector="2026a")


def test_a_signature_verifies_and_guards(key: tuple[Path, bytes]) -> None:
    """Both kinds of key sign what dkimpy accepts; a changed body, header, tag or a second From is noticed."""
    made = signer(signing(key[0]))
    assert made is not None
    signed = made.sign(MAIL)
    assert signed.endswith(MAIL)
    assert dkim.verify(signed, dnsfunc=dns(key[1]))
    for old, new in (
        (b"Hej ", b"Nej "),
        (b": hej", b": nej"),
        (b"26-2222-Q", b"26-2223-G"),
        (b"To:", b"From: x@y\r\nTo:"),
    ):
        changed = signed.replace(old, new, 1) if old != b": hej" else signed.replace(b"Subject: hej", b"Subject: nej")
        assert changed != signed
        assert not dkim.verify(changed, dnsfunc=dns(key[1]))


def test_every_forward_is_signed(db: Store, tmp_path: Path, key: tuple[Path, bytes]) -> None:
    """What lies in the mailbox verifies, with the citizen's octets in it as they came."""
    settings = Settings(smarthost=config.Smarthost(maildir=tmp_path / "mailboxes"), forward=signing(key[0]))
    queue(db)
    forward.send_due(db, MaildirSmarthost(settings.smarthost.maildir, settings.city.domains), settings, NOW)
    (file,) = (tmp_path / "mailboxes" / UNIT / "new").iterdir()
    assert dkim.verify(file.read_bytes(), dnsfunc=dns(key[1]))
    assert ORIGINAL in file.read_bytes()


def test_a_key_that_cannot_sign_is_refused(tmp_path: Path) -> None:
    """A file that is no key, or a key without its name in the DNS, is told in a sentence."""
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ConfigError, match=r"forward\.dkim_key_file"):
        signer(signing(tmp_path / "key.pem"))
    with pytest.raises(ValueError, match="dkim_selector"):
        config.Forward(dkim_key_file=tmp_path / "key.pem")
    assert signer(config.Forward()) is None


def test_nothing_sensitive_in_clear(db: Store) -> None:
    """Without TLS a sensitive mail does not even begin; the desk is told why, and it goes when that is mended."""
    unsecured = smtplib.SMTP()
    held, clean = transact(unsecured, Parcel("a@stad.example", UNIT, MAIL, secure=True))
    assert isinstance(held, Later)
    assert (held.held, held.channel, clean) == (True, "okrypterad", True)
    key = queue(db)
    settings = Settings()
    smarthost = Answering(held, Sent("250 taken", "TLSv1.3 TLS_AES_256_GCM_SHA384; DSN"))
    forward.send_due(db, smarthost, settings, NOW, chance=random.Random(1))
    with db.read() as session:
        assert "hålls kvar" in session.get_one(Case, key).attention
    assert forward.send_due(db, smarthost, settings, NOW + timedelta(minutes=5)) == 1
    with db.read() as session:
        channels = session.exec(select(Attempt.channel).order_by(col(Attempt.id))).all()
        sent = session.exec(select(Event).where(Event.kind == "sent")).one()
    assert channels == ["okrypterad", "TLSv1.3 TLS_AES_256_GCM_SHA384; DSN"]
    assert sent.detail["channel"] == channels[1]


@pytest.mark.parametrize(
    ("flags", "kind", "restricted", "secure"),
    [
        ([], "felanmalan", "", False), (["barn"], "", "", False), (["kanslig"], "", "", True),
        (["skyddad"], "", "", True), ([], "orosanmalan", "", True), ([], "", "visselblasning", True),
    ],
)  # fmt: skip
def test_what_is_sensitive(db: Store, flags: list[str], kind: str, restricted: str, secure: bool) -> None:
    """Flags, kinds and restrictions that a network must not see; every mail is sent under its token."""
    key = queue(db)
    with db.write() as session:
        case = session.get_one(Case, key)
        case.flags, case.kind, case.restricted = flags, kind, restricted
    asked: list[dict[str, object]] = []

    class Listening(Answering):
        """Keeps what is asked beside the mail."""

        def send(self, envelope_sender: str, recipient: str, octets: bytes, **wishes: object) -> Sent:
            asked.append(wishes)
            return Sent("250 ok")

    forward.send_due(db, Listening(LATER), Settings(), NOW)
    with db.read() as session:
        token = session.exec(select(Dispatch.token)).one()
    assert asked == [{"outside": False, "secure": secure, "envelope_id": token, "confirm": True}]


def test_the_proof_of_a_case(db: Store, store_url: str, tmp_path: Path) -> None:
    """Checksums of what came and what left, the attempts, and each report with its fields; as text and as JSON."""
    settings = Settings(smarthost=config.Smarthost(maildir=tmp_path / "mailboxes"))
    key = queue(db)
    forward.send_due(db, Answering(LATER), settings, NOW)
    smarthost = MaildirSmarthost(settings.smarthost.maildir, settings.city.domains)
    forward.send_due(db, smarthost, settings, NOW + timedelta(hours=1))
    (file,) = (tmp_path / "mailboxes" / UNIT / "new").iterdir()
    with db.write() as session:
        dispatch = session.exec(select(Dispatch)).one()
        number = session.get_one(Case, key).number
    take(db, report(dispatch.token))
    with db.write() as session:
        home = session.exec(select(Mail).where(Mail.dispatch_id == dispatch.id)).one()
        home.nature = "delivery-report"
    with db.read() as session:
        found = evidence.of_case(session, session.get_one(Case, key), settings)
        assert session.get_one(RawMail, home.id).octets == report(dispatch.token)
    (sent,) = found["sent"]
    assert sent["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert sent["carries_sha256"] == hashlib.sha256(ORIGINAL).hexdigest()
    assert f"<{sent['message_id']}>" == message_from_bytes(file.read_bytes(), policy=policy.default)["Message-ID"]
    assert [(one["outcome"], one["channel"]) for one in sent["attempts"]] == [("later", ""), ("sent", "lokal brevlåda")]
    assert [(one["mail"], one["original_envelope_id"]) for one in sent["reports"]] == [(home.id, dispatch.token)]
    assert sent["reports"][0]["recipients"] == [
        {"final_recipient": UNIT, "action": "delivered", "status": "2.0.0", "diagnostic_code": "250 2.0.0 <x> Saved"}
    ]
    (tmp_path / "m.toml").write_text(f'[store]\nurl = "{store_url}"\n')
    shown = CliRunner().invoke(commands, ["case", "proof", number, "--config", str(tmp_path / "m.toml")])
    data = CliRunner().invoke(commands, ["case", "proof", number, "--json", "--config", str(tmp_path / "m.toml")])
    assert json.loads(data.stdout) == found
    assert sent["sha256"] in shown.stdout
    assert "delivered 2.0.0 250 2.0.0 <x> Saved" in shown.stdout


def report(token: str) -> bytes:
    """Postfix's word that a mail has arrived (RFC 3464)."""
    return (
        "From: MAILER-DAEMON@smarthost.example\r\nTo: svar+" + token + "@stad.example\r\n"
        "Subject: Successful Mail Delivery Report\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n--b\r\n\r\nIt arrived.\r\n'
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; smarthost.example\r\n"
        f"Original-Envelope-Id: {token}\r\n\r\nFinal-Recipient: rfc822; {UNIT}\r\nAction: delivered\r\n"
        "Status: 2.0.0\r\nDiagnostic-Code: smtp; 250 2.0.0 <x> Saved\r\n\r\n--b--\r\n"
    ).encode()
