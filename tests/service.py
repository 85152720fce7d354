"""mailrouter itself as a child process, the way an operator runs it."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.postgres import free_port
from tests.waiting import until

RECIPIENT = "goteborg@stad.example"


@dataclass
class Service:
    """A configured mailrouter: run it, ask it, kill it."""

    folder: Path
    store_url: str
    more: str = ""  # further TOML
    smtp_port: int = field(default_factory=free_port)
    desk_port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_config()

    @property
    def config_file(self) -> Path:
        """The TOML file."""
        return self.folder / "mailrouter.toml"

    @property
    def desk(self) -> str:
        """Address of the desk."""
        return f"http://127.0.0.1:{self.desk_port}"

    @property
    def mailboxes(self) -> Path:
        """Where the built-in smarthost delivers."""
        return self.folder / "mailboxes"

    def write_config(self) -> None:
        """Write the TOML file; ``more`` may add tables or settings to them."""
        tables = {
            "store": [f'url = "{self.store_url}"'],
            "smtp": [f'listen = "127.0.0.1:{self.smtp_port}"', f'recipients = ["{RECIPIENT}"]'],
            "desk": ["undo_seconds = 0", f'listen = "127.0.0.1:{self.desk_port}"', f'base_url = "{self.desk}"'],
            "work": ["interval_seconds = 0.1"],
            "deadline": ["office_hours = [0, 24]"],
            "citizen": ["acknowledge = false"],  # what leaves, a test has decided
        }
        if "[smarthost]" not in self.more:
            tables["smarthost"] = [f'maildir = "{self.mailboxes}"']
        lines = ['log_level = "DEBUG"']
        for name, settings in tables.items():
            lines += [f"[{name}]", *settings]
        self.config_file.write_text("\n".join([*lines, self.more]), encoding="utf-8")

    def start(self, *arguments: str, wait: bool = True) -> None:
        """Start, and wait until every role has shown life."""
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mailrouter", "run", "--config", str(self.config_file), *arguments],
            stdout=log,
            stderr=log,
            env=os.environ | self.environment,
            start_new_session=True,
        )
        log.close()
        if wait:
            self.await_health()

    def await_health(self) -> None:
        """Wait until /health is content; what the service said is in the failure."""
        try:
            until(self.healthy, 60)
        except AssertionError as error:
            raise AssertionError(f"the service is not healthy; its log ends:\n{self.log()[-3000:]}") from error

    def healthy(self) -> bool:
        """True when /health says so."""
        try:
            with urllib.request.urlopen(f"{self.desk}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def log(self) -> str:
        """What the service printed so far."""
        file = self.folder / "log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def stop(self) -> int:
        """End it politely; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill(self) -> None:
        """End parent and roles as a power cut does."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def run(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command of the CLI on this configuration."""
        done = subprocess.run(
            [sys.executable, "-m", "mailrouter", *arguments, "--config", str(self.config_file)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | self.environment,
            timeout=120,
        )
        if check and done.returncode:
            raise AssertionError(f"mailrouter {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *arguments: str) -> Any:
        """The JSON a command prints."""
        return json.loads(self.run(*arguments, "--json").stdout)


@contextmanager
def running(service: Service) -> Iterator[Service]:
    """The service while the block runs, killed afterwards whatever happened."""
    service.start()
    try:
        yield service
    finally:
        service.kill()
