"""What ships beside the code: image, compose file, unit, catalogue entry, licence, make and CI."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from mailrouter import config
from mailrouter.cli import commands
from mailrouter.config import Section, Settings

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
OURS = {name: service for name, service in COMPOSE["services"].items() if name != "database"}


def _dockerfile() -> list[tuple[str, str]]:
    """The instructions with their arguments, continuation lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def _last_stage() -> list[tuple[str, str]]:
    instructions = _dockerfile()
    begin = max(index for index, (word, _) in enumerate(instructions) if word == "FROM")
    return instructions[begin:]


def _parses(words: Sequence[str]) -> None:
    """Fail unless ``words`` are a command of ours with options that it takes."""
    command: click.Command = commands
    context = click.Context(commands)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]}"
        command, words = found, words[1:]
    command.make_context(command.name, [*words], resilient_parsing=False)


def _is_pinned(image: str) -> bool:
    name, _, tag = image.partition(":")
    return bool(name) and bool(re.search(r"\d", tag))


# ---- the image


def test_the_image_is_pinned_and_nobody_special() -> None:
    """Base images carry a version, and the last stage runs as a numbered user who is not root."""
    bases = [arguments.split()[0] for word, arguments in _dockerfile() if word == "FROM"]
    assert all(_is_pinned(base) for base in bases)
    (user,) = [arguments for word, arguments in _last_stage() if word == "USER"]
    assert int(user.partition(":")[0]) > 999


def test_the_image_starts_and_checks_itself_with_commands_that_exist() -> None:
    """Entry point, default command and health check are commands of ours, and the last ones say so as lists."""
    stage = dict(_last_stage())
    assert json.loads(stage["ENTRYPOINT"]) == ["mailrouter"]
    assert "mailrouter" in PROJECT["scripts"]
    _parses(json.loads(stage["CMD"]))
    health = json.loads(stage["HEALTHCHECK"].partition("CMD ")[2])
    assert health[0] == "mailrouter"
    _parses(health[1:])


def test_what_the_image_copies_is_there() -> None:
    """Each COPY source exists and .dockerignore lets it through; nothing else of the tree goes into the build."""
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignore
    let_in = [line[1:] for line in ignore if line.startswith("!")]
    copies = [shlex.split(arguments) for word, arguments in _dockerfile() if word == "COPY"]
    sources = [source for copy in copies if not copy[0].startswith("--from") for source in copy[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) or source.startswith(f"{pattern}/") for pattern in let_in), source


def test_the_image_has_what_the_program_reads() -> None:
    """Rules and models stand where the program looks for them: beside the package."""
    targets = {shlex.split(arguments)[-1] for word, arguments in _last_stage() if word == "COPY"}
    for folder in (config.Classify().rules, config.Classify().models):
        assert f"/app/{folder.relative_to(config.DEFAULTS)}" in targets


def test_the_image_writes_only_where_its_volume_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration inside the image is read without a fault and keeps all state under the volume."""
    stage = dict(_last_stage())
    settings = config.load(ROOT / "deploy" / "container.toml")
    assert settings.store.url.startswith(f"sqlite:///{stage['VOLUME']}/")
    assert settings.smarthost.maildir.is_relative_to(stage["VOLUME"])
    assert settings.smarthost.kind == "maildir"
    exposed = stage["EXPOSE"].split()
    assert [settings.smtp.listen.rpartition(":")[2], settings.desk.listen.rpartition(":")[2]] == exposed


# ---- compose


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_names_only_what_is_declared(name: str) -> None:
    """Images have versions; secrets, volumes and the services waited for are declared."""
    service: dict[str, Any] = COMPOSE["services"][name]
    assert _is_pinned(service["image"])
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= set(COMPOSE["volumes"])
    for other, how in service.get("depends_on", {}).items():
        assert how["condition"] == "service_healthy"
        assert "healthcheck" in COMPOSE["services"][other]


def test_the_roles_run_once_each() -> None:
    """Every role is one service, with a command that exists, few rights, and the image of this version."""
    assert {service["command"][2] for service in OURS.values()} == {"doors", "work", "desk"}
    for service in OURS.values():
        _parses(service["command"])
        assert service["image"] == f"mailrouter:{PROJECT['version']}"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_ports_are_open_to_this_machine_only() -> None:
    """Nothing is published to the network before somebody decides so."""
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", OURS)
def test_compose_sets_settings_that_exist(name: str) -> None:
    """Each MAILROUTER_ variable is a setting, and no password stands in the file."""
    for variable in OURS[name]["environment"]:
        section, _, setting = variable.removeprefix("MAILROUTER_").lower().partition("__")
        kind = Settings.model_fields[section].annotation
        assert isinstance(kind, type)
        assert issubclass(kind, Section)
        assert setting in kind.model_fields
    written = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert not re.search(r"(?im)password:[ \t]*\S", written)
    assert "secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()


def test_database_and_doors_use_the_same_secret() -> None:
    """PostgreSQL and mailrouter read one password from one file, for one user and one database."""
    database = COMPOSE["services"]["database"]["environment"]
    ours = OURS["doors"]["environment"]
    assert database["POSTGRES_PASSWORD_FILE"] == ours["MAILROUTER_STORE__PASSWORD_FILE"]
    expected = f"postgresql+psycopg://{database['POSTGRES_USER']}@database/{database['POSTGRES_DB']}"
    assert ours["MAILROUTER_STORE__URL"] == expected


# ---- systemd


def test_the_unit_starts_a_command_that_exists() -> None:
    """ExecStart is a command of ours; the service may write under its state folder alone and is not root."""
    unit = dict(
        line.split("=", 1)
        for line in (ROOT / "deploy" / "mailrouter.service").read_text(encoding="utf-8").splitlines()
        if "=" in line and not line.startswith("#")
    )
    program, *words = shlex.split(unit["ExecStart"])
    assert program.endswith("/.venv/bin/mailrouter")
    _parses(words)
    assert unit["User"] == "mailrouter"
    assert unit["ProtectSystem"] == "strict"
    assert unit["WorkingDirectory"] == f"/var/lib/{unit['StateDirectory']}"


# ---- catalogue and licence


def test_the_catalogue_entry_is_valid() -> None:
    """publiccode.yml has what its standard demands, within its limits, and agrees with pyproject.toml."""
    entry = yaml.safe_load((ROOT / "publiccode.yml").read_text(encoding="utf-8"))
    for key in ("name", "url", "platforms", "categories", "developmentStatus", "softwareType"):
        assert entry[key], key
    assert entry["publiccodeYmlVersion"] == "0.4.0"
    assert entry["developmentStatus"] in {"concept", "development", "beta", "stable", "obsolete"}
    assert entry["softwareVersion"] == PROJECT["version"]
    assert entry["legal"]["license"] == PROJECT["license"] == "EUPL-1.2"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry["releaseDate"])
    assert {"sv", "en"} == set(entry["description"]) == set(entry["localisation"]["availableLanguages"])
    for text in entry["description"].values():
        assert len(text["shortDescription"]) <= 150
        assert 150 <= len(text["longDescription"]) <= 10_000
        assert text["features"]
        assert all((ROOT / shot).is_file() for shot in text["screenshots"])
    assert entry["maintenance"]["contacts"]
    assert entry["localisation"]["localisationReady"] is True


def test_the_licence_is_there() -> None:
    """LICENSE is the text that pyproject.toml names."""
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("EUROPEAN UNION PUBLIC LICENCE v. 1.2")


def test_the_changelog_knows_this_version() -> None:
    """CHANGELOG.md has an entry for the version that pyproject.toml names, or it is still unreleased."""
    page = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{PROJECT['version']}]" in page or "## [Unreleased]" in page


# ---- make and CI


def test_ci_runs_what_the_readme_says() -> None:
    """The command a newcomer is told to test with is the one that CI runs."""
    assert "    make test\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    run = ROOT / ".ci" / "run"
    assert "exec make test\n" in run.read_text(encoding="utf-8")
    assert os.access(run, os.X_OK)


def test_locks_are_hashed_and_name_no_index() -> None:
    """Every pinned package has a hash, and both locks name the same versions and no address."""
    versions = {}
    for name in ("run", "test"):
        text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
        assert "://" not in text
        entries = re.findall(r"^([\w.-]+)==(\S+)(?:[^\\\n]*) \\\n((?: +--hash=sha256:[0-9a-f]{64}.*\n)+)", text, re.M)
        assert len(entries) == len(re.findall(r"^[\w.-]+==", text, re.M))
        versions[name] = {package: version for package, version, _ in entries}
    assert versions["run"].items() <= versions["test"].items()


@pytest.mark.parametrize(("folder", "lock"), [("mailrouter", "run"), ("tests", "test"), ("bench", "test")])
def test_what_is_imported_is_locked(folder: str, lock: str) -> None:
    """Each foreign module that the code imports comes from a package of the lock, so a fresh clone has it.

    What an extra needs is imported only where it is used, and locked for the tests alone.
    """
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    locked = {name.lower().replace("_", "-") for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}
    if lock == "run":
        locked |= {name for extra in PROJECT["optional-dependencies"].values() for name in extra}
    origin = packages_distributions()
    foreign = _imported(ROOT / folder) - sys.stdlib_module_names - {"mailrouter", "tests", "bench"}
    missing = {
        module for module in foreign if not {name.lower().replace("_", "-") for name in origin.get(module, [])} & locked
    }
    assert missing == set()


def _imported(folder: Path) -> set[str]:
    """The first names of all modules imported by the files of a folder."""
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module).partition(".")[0])
    return found


def test_missing_packages_are_named(server_folder: Path) -> None:
    """Without root and sudo the helper says which Debian packages to install, and fails; those there are left out."""
    tools = server_folder / "bin"
    tools.mkdir()
    for tool in ("bash", "dpkg-query", "apt-get"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    script = (ROOT / "deploy" / "debian-packages").read_bytes()
    ended = subprocess.run(
        ["/bin/bash", "-s", "--", "dpkg", "mailrouter-no-such-package"],
        input=script,
        capture_output=True,
        env={"PATH": str(tools)},
        user="nobody" if os.geteuid() == 0 else None,
        check=False,
        cwd="/",
    )
    assert ended.returncode == 1
    assert b"apt-get install mailrouter-no-such-package\n" in ended.stderr


def test_present_packages_need_nothing() -> None:
    """With everything installed the helper says nothing and changes nothing."""
    ended = subprocess.run([ROOT / "deploy" / "debian-packages", "dpkg", "base-files"], capture_output=True, check=True)
    assert ended.stdout + ended.stderr == b""
