"""The documentation: what it says exists, and what exists it says."""

import re
from enum import StrEnum
from pathlib import Path
from typing import get_args

import click
import pytest

from mailrouter import config, diarium, settings_doc
from mailrouter.cli import commands
from mailrouter.config import Section, Settings
from tests.test_crash import CRASHES
from tests.test_layers import RANKS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_MOVE = re.compile(r"^ {4}(\S+) --> (\S+?)(?:: (.+))?$", re.MULTILINE)


def _drawing(title: str) -> list[tuple[str, str, str]]:
    """The arrows of a drawing in docs/states.md: from, to, label; the first arrow, from nothing, left out."""
    page = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return [(start, end, label) for start, end, label in _MOVE.findall(section) if start != "[*]"]


def test_every_setting_is_explained() -> None:
    """docs/settings.md is what the settings say of themselves: `make docs` writes it anew."""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_doc.page()


def test_every_setting_does_something() -> None:
    """Each setting is read somewhere in the program: none is only in the documentation."""
    code = "\n".join(
        file.read_text(encoding="utf-8")
        for file in (ROOT / "mailrouter").rglob("*.py")
        if file.name not in {"config.py", "check.py"}
    )
    sections = [
        kind
        for field in Settings.model_fields.values()
        for kind in (field.annotation, *get_args(field.annotation))
        if isinstance(kind, type) and issubclass(kind, Section)
    ]
    files_of_secrets = {"client_secret_file", "password_file"}  # config.py reads them and hands on the password
    named = {name for section in sections for name in section.model_fields} - files_of_secrets
    assert {name for name in named if not re.search(rf"\.{name}\b", code)} == set()


def test_the_states_of_a_case_are_drawn() -> None:
    """The drawing has the moves of diarium.CASE_MOVES and no others, with the letters of its comments."""
    source = (ROOT / "mailrouter" / "diarium.py").read_text(encoding="utf-8")
    letters = re.findall(r"\(CaseState\.\w+, EventKind\.\w+\): CaseState\.\w+,  # ([A-Z])$", source, re.MULTILINE)
    moves = [
        (start.value, end.value, f"{letter} {kind.value}")
        for letter, ((start, kind), end) in zip(letters, diarium.CASE_MOVES.items(), strict=True)
    ]
    assert _drawing("Case") == moves
    page = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| ([A-Z]) \|", page, re.MULTILINE) == letters


@pytest.mark.parametrize(
    ("title", "moves"),
    [("Part of a case", diarium.ASSIGNMENT_MOVES), ("Outgoing mail", diarium.DISPATCH_MOVES)],
)
def test_the_other_states_are_drawn(title: str, moves: frozenset[tuple[StrEnum, StrEnum]]) -> None:
    """The drawing has the moves of the table and no others."""
    assert {(start, end) for start, end, _ in _drawing(title)} == {(start.value, end.value) for start, end in moves}


def test_every_event_is_named() -> None:
    """docs/states.md names each kind of event there is."""
    page = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
    assert [kind.value for kind in diarium.EventKind if kind.value not in page] == []


def test_the_rooms_are_those_that_are_tested() -> None:
    """docs/architecture.md shows the ranks that test_layers.py holds the imports to."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `([\w./]+)` \|", page, re.MULTILINE)
    shown = {name.removesuffix("/").removesuffix(".py"): int(rank) for rank, name in rows}
    assert shown == {room: rank for room, rank in RANKS.items() if room != "__main__"}


def test_the_log_lines_of_the_walk_exist() -> None:
    """The lines that docs/flow.md names are logged, and every line that a process is killed at is among them."""
    page = (ROOT / "docs" / "flow.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)[^`]*`", page.split("## Reading the log", 1)[1].split("\n## ", 1)[0]))
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "mailrouter").rglob("*.py"))
    assert {line for line in named if not re.search(rf'log\.\w+\("{line}[ "]', code)} == set()
    assert {event for _, event, _ in CRASHES} <= named


def _commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """Every command by the words it is called with."""
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found[f"{prefix}{name}"] = command
        if isinstance(command, click.Group):
            found |= _commands(command, f"{prefix}{name} ")
    return found


def _mentioned(page: str) -> list[list[str]]:
    """The words of each mailrouter command in an indented or fenced block or a code span."""
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    indented = "\n".join(line.strip() for line in page.splitlines() if line.startswith("    "))
    spans = "\n".join(re.findall(r"`([^`\n]+)`", page))
    commands_run = f"{fenced}\n{indented}\n{spans}".replace("&& ", "\n")
    lines = re.findall(
        r"^(?:sudo (?:-u \S+ )?|docker compose exec \S+ )?(?:\S*/)?mailrouter ([a-z][^\n#|>;]*)",
        commands_run,
        re.MULTILINE,
    )
    return [line.split() for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists(page: Path) -> None:
    """A command line in the documentation names a command that exists, with options that it has."""
    known = _commands(commands)
    for words in _mentioned(page.read_text(encoding="utf-8")):
        name = next((" ".join(words[:count]) for count in (2, 1) if " ".join(words[:count]) in known), None)
        assert name is not None, f"mailrouter {' '.join(words)}"
        options = {option for parameter in known[name].params for option in parameter.opts} | {"--help"}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, " ".join(words)


@pytest.mark.parametrize("name", sorted(_commands(commands)))
def test_every_command_has_an_example(name: str) -> None:
    """The help of each command says what it does; that of a command that does something has an example."""
    command = _commands(commands)[name]
    assert command.help
    if not isinstance(command, click.Group) and not command.hidden:
        assert command.epilog
        assert f"mailrouter {name}" in command.epilog


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the project leads to a file."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    inside = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in inside if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_rooms_that_are_named_exist(page: Path) -> None:
    """A code file or folder that is named stands where it is said: in the package, or in the project."""
    named = re.findall(r"`((?:[a-z_]+/)*[a-z_]+(?:\.py|/))`", page.read_text(encoding="utf-8"))
    places = (ROOT, ROOT / "mailrouter", page.parent)
    allowed = {"var/"}  # made when mailrouter runs
    assert [
        name for name in named if name not in allowed and not any((place / name).exists() for place in places)
    ] == []


def test_make_targets_exist() -> None:
    """Each `make TARGET` in the documentation is one that `make help` lists."""
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        named = re.findall(r"(?:`|^ {4})make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(named) <= targets, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_of_configuration_are_sound(page: Path, tmp_path: Path) -> None:
    """Each TOML example is a configuration that is read without a fault, once the files that it names are there."""
    for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for name in re.findall(r'"/etc/mailrouter/([^"]+)"', block):
            (tmp_path / name).write_text("secret\n")
        file = tmp_path / "mailrouter.toml"
        file.write_text(block.replace("/etc/mailrouter", str(tmp_path)), encoding="utf-8")
        config.load(file)
