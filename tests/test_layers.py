"""The house: who may import whom. docs/architecture.md shows the same table."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mailrouter"

# A room imports only from rooms with a lower rank.
RANKS = {
    "config": 0,
    "gazetteer": 0,
    "letter": 0,
    "logs": 0,
    "network": 0,
    "number": 0,
    "tables": 0,
    "translations": 0,
    "workdays": 0,
    "migrations": 2,
    "organisation": 1,
    "settings_doc": 1,
    "signing": 1,
    "smarthost": 1,
    "search": 1,
    "store": 1,
    "citizen": 2,
    "classify": 2,
    "compose": 2,
    "diarium": 2,
    "replies": 2,
    "corpus": 3,
    "deadlines": 3,
    "evidence": 3,
    "ingest": 3,
    "learning": 3,
    "repeats": 3,
    "reports": 3,
    "restrictions": 3,
    "seal": 3,
    "settlement": 3,
    "webhooks": 3,
    "bounces": 4,
    "evaluate": 4,
    "fitting": 4,
    "forward": 4,
    "review": 4,
    "stacking": 4,
    "triage": 4,
    "answers": 5,
    "doors": 5,
    "homecoming": 5,
    "measuring": 5,
    "training": 5,
    "memory": 5,
    "undo": 5,
    "check": 6,
    "nightly": 6,
    "reading": 6,
    "desk": 7,
    "daemon": 7,
    "demo": 7,
    "work": 7,
    "replay": 8,
    "role": 8,
    "cli": 9,
    "__main__": 10,
}

MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}


def _room(module: str) -> str:
    """The room a module lies in: the part after ``mailrouter``."""
    return module.split(".")[1] if "." in module else module


def _imports(module: str) -> Iterator[str]:
    """The modules of ours that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import hides which room it goes to"
            named = [
                inner if (inner := f"{node.module}.{alias.name}") in MODULES else str(node.module)
                for alias in node.names
            ]
        else:
            continue
        yield from (name for name in named if name in MODULES and name != "mailrouter")


def test_every_room_has_its_rank() -> None:
    """No room is forgotten in the table, and none in it is gone."""
    assert {_room(module) for module in MODULES} - {"mailrouter"} == set(RANKS)


@pytest.mark.parametrize("room", RANKS)
def test_imports_go_down(room: str) -> None:
    """A room imports nothing from its own rank or above."""
    upward = [
        f"{module} imports {imported}"
        for module in MODULES
        if _room(module) == room
        for imported in _imports(module)
        if _room(imported) != room and RANKS[_room(imported)] >= RANKS[room]
    ]
    assert upward == []


def test_no_circles() -> None:
    """No module imports itself by way of others, inside a room neither."""
    graph = {module: set(_imports(module)) - {module} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("entrance", ["mailrouter.doors.run", "mailrouter.desk.app", "mailrouter.daemon"])
def test_all_but_work_stay_light(entrance: str) -> None:
    """Doors, desk and parent load neither scikit-learn nor numpy, directly or not: they start at once, stay small."""
    script = f"import sys, {entrance}; print(sorted({{'numpy', 'scipy', 'sklearn'}} & sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]"
