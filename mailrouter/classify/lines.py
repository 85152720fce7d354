"""Suggestions as JSON Lines: what the command ``suggest`` and other programs read."""

import json
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import islice

from mailrouter.classify.classifier import Classifier
from mailrouter.classify.values import Query

_BATCH = 256  # lines suggested for at a time


def suggest_lines(classifier: Classifier, queries: Iterable[Query], on: date) -> Iterator[str]:
    """One JSON object a query, in their order; reads no more of the queries than a batch ahead."""
    waiting = iter(queries)
    while batch := list(islice(waiting, _BATCH)):
        for query, verdict in zip(batch, classifier.classify(batch, on), strict=True):
            yield json.dumps({"id": query.id} | verdict.as_json(), ensure_ascii=False)


def read_queries(lines: Iterable[str]) -> Iterator[Query]:
    """Queries from JSON Lines with id, subject, body and optionally from; empty lines are passed over.

    Raises ValueError with the line's number.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not a JSON object")  # noqa: TRY004 (one clear error for every bad line)
            yield Query.from_json(row)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
