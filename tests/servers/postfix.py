"""A private Postfix of Debian's package as smarthost, for the length of a test run. Nothing leaves the machine."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.dovecot import Dovecot, certificate
from tests.servers.postgres import free_port

WAIT_SECONDS = 20.0

# service type private unprivileged chroot wakeup process-limit command
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass
class Postfix:
    """A server in ``folder`` that takes mail from this machine; ``settings`` are those of main.cf."""

    folder: Path
    settings: Mapping[str, str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    services: str = ""  # more lines of master.cf

    def start(self) -> None:
        """Start and wait until it greets."""
        etc = self.folder / "etc"
        defaults = {
            "compatibility_level": "3.6",
            "queue_directory": str(self.folder / "queue"),
            "data_directory": str(self.folder / "data"),
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "myhostname": "smarthost.example",
            "mydestination": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "maillog_file_prefixes": str(self.folder),
            "maillog_file": str(self.folder / "log"),
            "alias_maps": "",
            "alias_database": "",
            "default_transport": "error:5.7.1 this test server sends nothing out",
            "smtpd_tls_security_level": "may",
            "smtpd_tls_cert_file": str(self.folder / "certificate.pem"),
            "smtpd_tls_key_file": str(self.folder / "key.pem"),
        }
        (etc / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in (defaults | dict(self.settings)).items()))
        (etc / "master.cf").write_text(_MASTER.format(port=self.port) + self.services)
        if (self.folder / "queue" / "pid").exists():
            (self.folder / "queue" / "quick-start").touch()  # it has checked its folders before
        self.process = subprocess.Popen(
            ["/usr/sbin/postfix", "-c", str(etc), "start-fg"],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "errors").open("wb"),
            start_new_session=True,
        )
        deadline = time.monotonic() + WAIT_SECONDS
        while not self._greets():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Postfix does not start: {(self.folder / 'errors').read_text()}{self.log()}")
            time.sleep(0.05)

    def _greets(self) -> bool:
        try:
            with closing(socket.create_connection(("127.0.0.1", self.port), timeout=5)) as probe:
                return probe.recv(3) == b"220"
        except OSError:
            return False

    def kill(self) -> None:
        """End the server and all its children at once, as a power cut does; what is in its queue stays."""
        if self.process is None:
            return
        master = int((self.folder / "queue" / "pid" / "master.pid").read_text())  # leads a process group of its own
        os.killpg(master, signal.SIGKILL)
        self.process.wait()
        self.process = None

    @property
    def certificate(self) -> Path:
        """The self-signed certificate for localhost: what a client must trust."""
        return self.folder / "certificate.pem"

    def log(self) -> str:
        """What the server wrote."""
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def queued(self) -> int:
        """How many mails wait in its queue."""
        places = ("maildrop", "incoming", "active", "deferred")
        return sum(file.is_file() for place in places for file in (self.folder / "queue" / place).rglob("*"))


def into(mailboxes: Dovecot, *domains: str) -> dict[str, str]:
    """Settings of a smarthost that delivers ``domains`` into Dovecot's mailboxes by LMTP."""
    return {
        "virtual_mailbox_domains": ", ".join(domains),
        "virtual_transport": f"lmtp:inet:[127.0.0.1]:{mailboxes.lmtp}",
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": f"inet:127.0.0.1:{mailboxes.auth}",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "2s",
        "queue_run_delay": "1s",
    }


@contextmanager
def postfix(folder: Path, settings: Mapping[str, str], services: str = "") -> Iterator[Postfix]:
    """A server with an empty queue in ``folder``, ended when the block ends. Only root can start Postfix."""
    if Path("/proc/self").owner() != "root":
        raise RuntimeError("Postfix drops privileges by itself: run the tests as root, as CI does")
    for part in ("etc", "queue", "data"):
        (folder / part).mkdir(parents=True)
    shutil.chown(folder / "data", "postfix")
    certificate(folder)
    for given in ("postfix-files", "dynamicmaps.cf"):
        shutil.copy(Path("/etc/postfix") / given, folder / "etc")
    server = Postfix(folder, settings, services=services)
    server.start()
    try:
        yield server
    finally:
        server.kill()
