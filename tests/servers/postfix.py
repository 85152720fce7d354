"""A private Postfix of Debian's package: a smarthost that hands mail for the city's domain to Dovecot."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.postgres import free_port
from tests.waiting import until

_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = smarthost.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relay_domains =
default_transport = error:nothing leaves this machine
virtual_mailbox_domains = stad.example
virtual_mailbox_maps = regexp:{folder}/etc/users
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
smtpd_tls_security_level = {tls}
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_peername_lookup = no
alias_maps =
maillog_file_prefixes = {folder}
maillog_file = {folder}/log
message_size_limit = 60000000
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
{extra}
"""


@dataclass
class Postfix:
    """A server in ``folder``; ``users`` is a regular expression over the addresses that exist."""

    folder: Path
    lmtp: int  # port of the mailboxes behind it
    certificate: Path | None = None
    key: Path | None = None
    users: str = "/./"
    extra: str = ""
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def prepare(self) -> None:
        """Write the configuration."""
        for name in ("etc", "queue", "data"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        subprocess.run(["chown", "postfix", str(self.folder / "data")], check=True)
        (self.folder / "etc" / "users").write_text(f"{self.users} ok\n")
        (self.folder / "etc" / "main.cf").write_text(
            _MAIN.format(
                folder=self.folder,
                lmtp=self.lmtp,
                tls="may" if self.certificate else "none",
                certificate=self.certificate or "",
                key=self.key or "",
                extra=self.extra,
            )
        )
        (self.folder / "etc" / "master.cf").write_text("\n".join(self._services()) + "\n")

    def _services(self) -> list[str]:
        """Debian's services, without chroot, with our port in the place of 25."""
        lines = Path("/usr/share/postfix/master.cf.dist").read_text().splitlines()
        services = []
        for line in lines:
            words = line.split()
            if line.startswith("#") or not words:
                continue
            if words[:2] == ["smtp", "inet"]:
                words[0] = f"127.0.0.1:{self.port}"
            if len(words) >= 8 and not line[0].isspace():
                words[4] = "n"
            services.append(("" if not line[0].isspace() else "  ") + " ".join(words))
        return services

    def start(self) -> None:
        """Start and wait until it listens."""
        self._postfix("start")
        until(self._listens, 20)

    def _listens(self) -> bool:
        done = subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.folder / "etc"), "status"], check=False, capture_output=True
        )
        return done.returncode == 0

    def stop(self) -> None:
        """Stop; what is in the queue stays there."""
        self._postfix("stop")

    def kill(self) -> None:
        """End it as a power cut does."""
        pid = int((self.folder / "queue" / "pid" / "master.pid").read_text())
        os.killpg(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    def log(self) -> str:
        """What it logged."""
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def _postfix(self, verb: str) -> None:
        done = subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.folder / "etc"), verb], check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"postfix {verb}: {done.stderr}{self.log()[-2000:]}")


@contextmanager
def postfix(folder: Path, lmtp: int, **settings: object) -> Iterator[Postfix]:
    """A running server, stopped at the end."""
    server = Postfix(folder, lmtp, **settings)  # type: ignore[arg-type]
    server.prepare()
    server.start()
    try:
        yield server
    finally:
        server.stop()
