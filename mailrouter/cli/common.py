"""What the commands share: reading the configuration, opening the store, printing rows."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from mailrouter import config, logs, store
from mailrouter.config import Settings
from mailrouter.store import Store

P = ParamSpec("P")
R = TypeVar("R")


def config_option(command: Callable[P, R]) -> Callable[P, R]:
    """``--config FILE``, also named by the environment."""
    option = click.option(
        "--config",
        "config_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="TOML file with the settings; else $MAILROUTER_CONFIG, else the built-in defaults.",
    )
    return option(command)


def json_option(command: Callable[P, R]) -> Callable[P, R]:
    """``--json``: for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def load(config_file: Path | None) -> Settings:
    """The settings, with logging set up to their level."""
    settings = config.load(config_file)
    logs.set_up(settings.log_level)
    return settings


def open_store(config_file: Path | None) -> tuple[Settings, Store]:
    """The settings and an open, existing register; commands other than ``run`` never create one."""
    settings = load(config_file)
    return settings, store.connect_existing(settings.store)


def echo_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: Any) -> str:
    """Moments and dates as ISO 8601 has them; states by their names."""
    return value.isoformat() if isinstance(value, date) else str(value)


def echo_table(rows: Sequence[dict[str, Any]], columns: Iterable[str]) -> None:
    """Rows under their column names, each column as wide as its widest value."""
    columns = list(columns)
    cells = [columns, *[[_cell(row.get(column)) for column in columns] for row in rows]]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"
