"""A private Dovecot of Debian's package: IMAP, IMAP over TLS and LMTP, for the length of a test run."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from imapclient import IMAPClient

from tests.servers.postgres import free_port

PASSWORD = "hemligt"
WAIT_SECONDS = 20.0

_CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = maildir:~/Maildir
mail_home = {folder}/mail/%n
first_valid_uid = 1
default_internal_user = {internal}
default_login_user = {login}
mail_max_userip_connections = 50
recipient_delimiter = +
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={mail} gid={group} home={folder}/mail/%n allow_all_users=yes
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {auth}
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
{extra}
"""


@dataclass
class Dovecot:
    """A server in ``folder``. Every user exists and has the password ``PASSWORD``."""

    folder: Path
    extra: str = ""  # more lines of configuration
    imap: int = field(default_factory=free_port)
    imaps: int = field(default_factory=free_port)
    lmtp: int = field(default_factory=free_port)
    auth: int = field(default_factory=free_port)  # for a Postfix that asks it about passwords
    process: subprocess.Popen[bytes] | None = None

    @property
    def certificate(self) -> Path:
        """The self-signed certificate for localhost: what a client must trust."""
        return self.folder / "certificate.pem"

    def start(self) -> None:
        """Start and wait until it greets."""
        root = Path("/proc/self").owner() == "root"
        me = Path("/proc/self").owner()
        (self.folder / "dovecot.conf").write_text(
            _CONFIGURATION.format(
                folder=self.folder,
                internal="dovecot" if root else me,
                login="dovenull" if root else me,
                mail="mail" if root else me,
                group="mail" if root else Path("/proc/self").group(),
                imap=self.imap,
                imaps=self.imaps,
                lmtp=self.lmtp,
                auth=self.auth,
                password=PASSWORD,
                extra=self.extra,
            )
        )
        self.process = subprocess.Popen(
            ["/usr/sbin/dovecot", "-F", "-c", str(self.folder / "dovecot.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + WAIT_SECONDS
        while not self._greets():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Dovecot does not start: {self.log()}")
            time.sleep(0.05)

    def _greets(self) -> bool:
        try:
            with closing(socket.create_connection(("127.0.0.1", self.imap), timeout=5)) as probe:
                return probe.recv(4) == b"* OK"
        except OSError:
            return False

    def kill(self) -> None:
        """End the server and all its children at once, as a crash of its machine does."""
        if self.process is None:
            return
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def log(self) -> str:
        """What the server wrote."""
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    @contextmanager
    def client(self, user: str, folder: str = "INBOX", *, readonly: bool = False) -> Iterator[IMAPClient]:
        """Somebody else's mail program, with ``folder`` open."""
        client = IMAPClient("127.0.0.1", self.imap, ssl=False, timeout=WAIT_SECONDS)
        try:
            client.login(user, PASSWORD)
            if not client.folder_exists(folder):
                with suppress(IMAPClient.Error):  # somebody else may create it just now
                    client.create_folder(folder)
            client.select_folder(folder, readonly=readonly)
            yield client
        finally:
            client.shutdown()

    def deliver(self, user: str, mails: Sequence[bytes], folder: str = "INBOX", at: datetime | None = None) -> None:
        """Put mails into a user's folder."""
        with self.client(user, folder) as client:
            for octets in mails:
                client.append(folder, octets, msg_time=at or datetime.now(UTC))

    def mails(self, user: str, folder: str = "INBOX") -> list[bytes]:
        """The mails in a user's folder, in order."""
        with self.client(user, folder, readonly=True) as client:
            found = client.fetch(client.search(), ["BODY.PEEK[]"])
            return [found[uid][b"BODY[]"] for uid in sorted(found)]

    def files(self, user: str) -> list[Path]:
        """The files of a user's INBOX in the order they came: their names begin with SECONDS.M<MICROSECONDS>P."""
        maildir = self.folder / "mail" / user / "Maildir"

        def came(file: Path) -> tuple[int, int]:
            seconds, micro = file.name.split(".")[:2]
            return int(seconds), int(micro[1:].partition("P")[0])

        return sorted([*(maildir / "new").iterdir(), *(maildir / "cur").iterdir()], key=came)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and 127.0.0.1, and its key."""
    pem, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    return pem, key


@contextmanager
def dovecot(folder: Path, extra: str = "") -> Iterator[Dovecot]:
    """A server with empty mailboxes in ``folder``, ended when the block ends."""
    (folder / "mail").mkdir(parents=True)
    certificate(folder)
    if Path("/proc/self").owner() == "root":
        shutil.chown(folder / "mail", "mail", "mail")
    server = Dovecot(folder, extra)
    server.start()
    try:
        yield server
    finally:
        server.kill()
