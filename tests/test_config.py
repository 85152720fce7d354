"""The configuration: each broken one is refused with its sentence, and a good one is read as written."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mailrouter import check, config
from mailrouter.config import ConfigError

BROKEN = Path(__file__).parent / "bad_config"


def _said(file: Path) -> list[str]:
    """What `mailrouter check` says of a configuration, a line each."""
    try:
        settings = config.load(file)
    except ConfigError as error:
        return str(error).splitlines()
    return check.problems(settings)


def _mailrouter(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mailrouter", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", sorted(folder.name for folder in BROKEN.iterdir()))
def test_a_broken_configuration_gets_its_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each broken configuration gets exactly the sentences in its expected.txt."""
    shutil.copytree(BROKEN / name, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    assert _said(Path("mailrouter.toml")) == Path("expected.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_command_refuses_a_broken_configuration(command: str, tmp_path: Path) -> None:
    """Nothing starts with a mailbox outside the city's domains: a sentence on stderr, no traceback, and exit 1."""
    shutil.copytree(BROKEN / "mailbox-outside-domains", tmp_path, dirs_exist_ok=True)
    ended = _mailrouter(command, "--config", "mailrouter.toml", folder=tmp_path)
    assert ended.returncode == 1
    assert "outside city.domains" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_defaults_are_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any configuration nothing is wrong, and the operator is told that nothing leaves the machine."""
    monkeypatch.chdir(tmp_path)
    settings = config.load()
    assert check.problems(settings) == []
    assert "nothing leaves this machine" in check.notes(settings)[0]


def test_the_environment_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable overrides its one setting; what else the file says of the section stays."""
    file = tmp_path / "mailrouter.toml"
    file.write_text('[smtp]\nlisten = "127.0.0.1:2626"\nhostname = "mx.stad.example"\n')
    monkeypatch.setenv("MAILROUTER_SMTP__LISTEN", "127.0.0.1:2727")
    smtp = config.load(file).smtp
    assert (smtp.listen, smtp.hostname) == ("127.0.0.1:2727", "mx.stad.example")


def test_a_file_holds_the_secret(tmp_path: Path) -> None:
    """A password comes from its file without the line end, and is not shown when settings are printed."""
    (tmp_path / "secret").write_text("hemligt\n")
    file = tmp_path / "mailrouter.toml"
    file.write_text(
        f'[smarthost]\nkind = "smtp"\nhost = "relay.stad.example"\nuser = "mr"\npassword_file = "{tmp_path}/secret"\n'
    )
    settings = config.load(file)
    assert settings.smarthost.password is not None
    assert settings.smarthost.password.get_secret_value() == "hemligt"
    assert "hemligt" not in repr(settings)


def test_the_operator_is_told_what_stands_open(tmp_path: Path) -> None:
    """A door without TLS, a desk without HTTPS and a secret that all can read are no faults, but are said."""
    (tmp_path / "secret").write_text("hemligt\n")
    (tmp_path / "secret").chmod(0o644)
    file = tmp_path / "mailrouter.toml"
    file.write_text(
        '[smtp]\nlisten = "0.0.0.0:25"\n[desk]\nlisten = "0.0.0.0:8080"\n'
        f'[smarthost]\nkind = "smtp"\nhost = "relay.stad.example"\nuser = "mr"\npassword_file = "{tmp_path}/secret"\n'
    )
    said = "\n".join(check.notes(config.load(file)))
    for open_thing in ("smtp.listen is 0.0.0.0:25", "desk.secure_cookies is off", "smarthost.password_file"):
        assert open_thing in said


def test_connect_says_which_server_does_not_answer(tmp_path: Path) -> None:
    """With --connect each server that is not there is a sentence; without it, nobody is asked."""
    file = tmp_path / "mailrouter.toml"
    file.write_text(
        '[store]\nurl = "postgresql+psycopg://mailrouter@127.0.0.1:1/mailrouter"\n'
        '[smarthost]\nkind = "smtp"\nhost = "127.0.0.1"\nport = 1\n'
        '[[imap]]\nname = "kontaktcenter"\nhost = "127.0.0.1"\nport = 1\ntls = "none"\n'
    )
    settings = config.load(file)
    assert check.problems(settings) == []
    database, way_in, way_out = check.problems(settings, connect=True)
    assert database.startswith("store.url: the database does not answer: ")
    assert way_in.startswith("imap account kontaktcenter: cannot open INBOX: ")
    assert way_out.startswith("smarthost: ")
    assert "127.0.0.1:1" in way_out
