"""Commands around the suggestion: suggest, train, model, units."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
from sqlalchemy import func
from sqlmodel import col, select

from mailrouter import classify as classifying
from mailrouter import config, letter, organisation
from mailrouter.classify import lines
from mailrouter.classify.values import Query
from mailrouter.cli.common import config_option, echo_json, echo_table, json_option, load
from mailrouter.config import ConfigError
from mailrouter.corpus import Labelled
from mailrouter.store import connect_existing
from mailrouter.tables import Case


@click.command(
    epilog="Examples: mailrouter suggest complaint.eml    mailrouter suggest --jsonl mails.jsonl > suggestions.jsonl"
)
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--jsonl",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Read mails from JSON Lines with id, subject, body and optionally from; - is standard input.",
)
@config_option
def suggest(files: tuple[Path, ...], jsonl: Path | None, config_file: Path | None) -> None:
    """Suggest area and förvaltning, one JSON object a mail.

    Needs no database and no configuration.
    """
    if bool(files) == bool(jsonl):
        raise click.UsageError("give either .eml files or --jsonl FILE")
    queries = _from_jsonl(jsonl) if jsonl else _from_files(files)
    count = _count_lines(jsonl) if jsonl else len(files)
    classifier = classifying.load(config.load(config_file).classify)
    shown = sys.stderr.isatty() and count is not None and count > 20
    bar: AbstractContextManager[Any] = (
        click.progressbar(length=count, label="Suggesting", file=sys.stderr) if shown else nullcontext()
    )
    with bar as progress:
        for line in lines.suggest_lines(classifier, queries, date.today()):  # noqa: DTZ011 (the operator's day)
            click.echo(line)
            if progress is not None:
                progress.update(1)


def _from_files(files: Iterable[Path]) -> Iterator[Query]:
    for file in files:
        octets = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        yield classifying.query_of(letter.parse(octets), str(file))


def _from_jsonl(file: Path) -> Iterator[Query]:
    try:
        if str(file) == "-":
            yield from lines.read_queries(sys.stdin)
        else:
            with file.open(encoding="utf-8") as opened:
                yield from lines.read_queries(opened)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error


def _count_lines(file: Path) -> int | None:
    if str(file) == "-":
        return None
    with file.open("rb") as opened:
        return sum(1 for line in opened if line.strip())


@click.command(epilog="Example: mailrouter train")
@config_option
@click.option("--seed-only", is_flag=True, help="Leave the confirmed cases of the register out.")
def train(config_file: Path | None, seed_only: bool) -> None:
    """Make a new model version.

    Learns from the seed corpus and the confirmed cases; the new version is used if it is better.
    """
    from mailrouter import review, training  # noqa: PLC0415 (scikit-learn takes its time)

    settings = load(config_file)
    confirmed = [] if seed_only else _confirmed(settings)
    card = training.train(settings.classify, confirmed, click.echo, now=datetime.now(UTC))
    used = "is in use" if card.measures["used"] else "is not used: the one in use is as good or better"
    click.echo(f"Model {card.version} {used}. Its card: {settings.classify.models / card.version / 'card.json'}")
    if found := review.read(settings.classify.models / card.version):
        by_people = sum(doubt.source == "confirmed" for doubt in found)
        click.echo(
            f"{len(found)} labels disagree with everything similar, {by_people} of them confirmed cases; "
            f"`mailrouter model review {card.version}` lists them."
        )


@click.group()
def model() -> None:
    """Model versions: list them, choose one."""


@model.command("list", epilog="Example: mailrouter model list --register")
@click.option("--register", is_flag=True, help="Count the register's suggestions by version; reads every case.")
@config_option
@json_option
def list_models(register: bool, config_file: Path | None, as_json: bool) -> None:
    """List the model versions with what they reached; the one in use is marked.

    With --register also those that made suggestions and whose card is gone.
    """
    from mailrouter.classify.model import current_version, load_card  # noqa: PLC0415 (as above)

    settings = config.load(config_file)
    folder = settings.classify.models
    current = current_version(folder)
    cards = [load_card(card.parent) for card in sorted(folder.glob("*/card.json"))]
    rows = [
        {
            "version": card.version,
            "in_use": card.version == current,
            "card": True,
            "made_at": card.made_at,
            **card.measures,
        }
        for card in cards
    ]
    columns = ["version", "in_use", "card", "made_at"]
    if register:
        counts = _suggestions(settings)
        rows += [
            {"version": version, "in_use": False, "card": False, "made_at": None}
            for version in sorted(counts.keys() - {card.version for card in cards})
        ]
        rows = [row | {"suggestions": counts[str(row["version"])]} for row in rows]
        columns.append("suggestions")
    if as_json:
        echo_json(rows)
    else:
        words = {True: "yes", False: ""}
        shown = [row | {"in_use": words[bool(row["in_use"])], "card": "yes" if row["card"] else "gone"} for row in rows]
        echo_table(shown, columns)


def _suggestions(settings: config.Settings) -> Counter[str]:
    """How many of the register's suggestions each model version made."""
    counts: Counter[str] = Counter()
    by = col(Case.suggestion)["by"].as_string()
    with connect_existing(settings.store).read() as session:
        for named, count in session.exec(select(by, func.count()).where(by.is_not(None)).group_by(by)):
            counts[named.rpartition("modell ")[2]] += count
    return counts


@model.command("review", epilog="Example: mailrouter model review    Look at a case: mailrouter case show 26-2223-P")
@click.argument("version", default="")
@config_option
@json_option
def review_labels(version: str, config_file: Path | None, as_json: bool) -> None:
    """List labels that disagree with everything similar, by VERSION (the one in use by default).

    A person decides: a wrong decision is decided anew at the desk, and the next training learns from that.
    """
    from mailrouter import review  # noqa: PLC0415 (as above)
    from mailrouter.classify.model import current_version, load_card  # noqa: PLC0415

    folder = config.load(config_file).classify.models
    found = review.read(folder / load_card(folder / (version or current_version(folder))).version)
    rows = [asdict(doubt) for doubt in found]
    if as_json:
        echo_json(rows)
    elif rows:
        echo_table(rows, ("source", "id", "area", "similar", "suggested", "probability"))
    else:
        click.echo("No label disagrees with everything similar.")


@model.command("use", epilog="Example: mailrouter model use 2026-11-22-e03a02")
@click.argument("version")
@config_option
def use_model(version: str, config_file: Path | None) -> None:
    """Use another version; the way back when a new one disappoints. A running service takes it up within a minute."""
    from mailrouter import training  # noqa: PLC0415 (as above)

    training.use(config.load(config_file).classify.models, version)
    click.echo(f"Model {version} is in use; a running service takes it up within a minute.")


def _confirmed(settings: config.Settings) -> list[Labelled]:
    """The register's confirmed cases as examples; none when there is no register yet."""
    from mailrouter import memory  # noqa: PLC0415 (as above)

    try:
        store = connect_existing(settings.store)
    except ConfigError:
        return []
    with store.read() as session:
        return list(memory.examples(session))


@click.command(epilog="Example: mailrouter units snö    lists who answers for snow")
@click.argument("query", default="")
@config_option
@json_option
def units(query: str, config_file: Path | None, as_json: bool) -> None:
    """List or find förvaltningar and companies.

    QUERY finds them by name, old name or area.
    """
    city = organisation.load(config.load(config_file).classify.organisation)
    found = city.find_units(query) if query else list(city.units.values())
    if query:
        by_area = {area.unit for area in city.find_areas(query)}
        found += [city.units[unit] for unit in by_area if unit and city.units[unit] not in found]
    rows = [{"id": unit.id, "name": unit.name, "mailbox": unit.mailbox} for unit in found]
    if as_json:
        echo_json(rows)
    else:
        echo_table(rows, ("id", "name", "mailbox"))


COMMANDS: dict[str, click.Command] = {"suggest": suggest, "train": train, "model": model, "units": units}
