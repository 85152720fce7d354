"""Labelled mails: the seed corpus, and what people have confirmed."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from mailrouter.classify.values import Query
from mailrouter.organisation import Organisation

WORDS = "words.yaml"  # words people use about each area: an example each
VALIDATION = "validation.jsonl"  # for choosing and reporting; never trained on


class CorpusError(ValueError):
    """A corpus file cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A mail with what is true of it. ``source`` is the file's name, or ``confirmed`` for a case of the desk."""

    query: Query
    area: str
    also: tuple[str, ...] = ()
    kind: str = ""  # empty: not known
    district: str | None = None
    flags: tuple[str, ...] | None = None  # None: nobody said; a confirmed case tells the area alone
    source: str = "confirmed"
    day: str = ""  # ISO date of the confirmation; empty in the seed corpus


def read(file: Path) -> list[Labelled]:
    """Read one JSON Lines file. Raises CorpusError with file and line number."""
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            rows.append(
                Labelled(
                    query=Query.from_json(row),
                    area=row["area"],
                    also=tuple(row.get("also", ())),
                    kind=row.get("kind", ""),
                    district=row.get("district"),
                    flags=tuple(row.get("flags", ())),
                    source=file.stem,
                )
            )
        except (ValueError, TypeError, KeyError) as error:
            raise CorpusError(f"{file}, line {number}: {error}") from error
    return rows


def seed(folder: Path, organisation: Organisation) -> list[Labelled]:
    """Every labelled mail of the seed corpus but the validation mails.

    Raises CorpusError when a mail has an area that the organisation does not.
    """
    rows = [row for file in _files(folder) for row in read(file)]
    unknown = sorted({f"{row.area} ({row.source}.jsonl)" for row in rows if row.area not in organisation.areas})
    if unknown:
        raise CorpusError(f"the corpus names areas that do not exist: {', '.join(unknown)}")
    return rows


def validation(folder: Path) -> list[Labelled]:
    """The mails kept apart for choosing and reporting."""
    return read(folder / VALIDATION)


def words(folder: Path, organisation: Organisation) -> list[Labelled]:
    """Single words and phrases as examples: the corpus's own list, and what the organisation file says of its areas.

    They let an area work that has no mails yet. Raises CorpusError when the list names an area that is not there.
    """
    try:
        listed = yaml.safe_load((folder / WORDS).read_text(encoding="utf-8")) if (folder / WORDS).exists() else {}
    except yaml.YAMLError as error:
        raise CorpusError(f"{folder / WORDS}: not valid YAML: {error}") from error
    unknown = sorted(listed.keys() - organisation.areas.keys())
    if unknown:
        raise CorpusError(f"{folder / WORDS} names areas that do not exist: {', '.join(unknown)}")
    return [
        Labelled(Query("", "", str(phrase)), area.id, source="words")
        for area in organisation.areas.values()
        for phrase in (area.name, *area.phrases, *listed.get(area.id, ()))
    ]


def _files(folder: Path) -> Iterable[Path]:
    files = sorted(file for file in folder.glob("*.jsonl") if file.name != VALIDATION)
    if not files:
        raise CorpusError(f"the folder {folder} has no corpus files")
    return files
