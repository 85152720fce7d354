"""The report as one page: self-contained HTML in plain Swedish, without a word that a citizen wrote."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_decimal, format_percent
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from mailrouter.desk import words
from mailrouter.letter.values import Nature
from mailrouter.replay import pictures
from mailrouter.replay.sources import Source
from mailrouter.replay.tally import NOBODY, Tally

_UNITS_DRAWN = 11  # of the matrix; the others share one more row
_PAIRS = 25
_NATURES = {
    Nature.HUMAN: "Skrivna av människor",
    Nature.FORM: "Webbformulär",
    Nature.AUTO_REPLY: "Automatiska svar",
    Nature.DELIVERY_REPORT: "Leveransrapporter",
    Nature.FEEDBACK_REPORT: "Rapporter från e-posttjänster",
    Nature.MAILING_LIST: "E-postlistor",
    Nature.BULK: "Massutskick",
    Nature.READ_RECEIPT: "Läskvitton",
    Nature.CALENDAR: "Kalenderinbjudningar",
    Nature.DMARC_REPORT: "Tekniska rapporter om e-postdomänen",
    Nature.OWN: "Skickade av mailrouter",
}
_LANGUAGES = Locale("sv").languages
_NO_UNIT = "Ingen förvaltning (platsen saknas, eller mejlet är inget ärende)"
_NO_DISTRICT = "Ingen plats"


def page(tally: Tally, source: Source, *, city: str, zone: str, now: datetime) -> str:
    """The HTML document."""
    units = {key: one.name for key, one in tally.city.units.items()} | {NOBODY: _NO_UNIT}
    areas = {key: one.name for key, one in tally.city.areas.items()}
    return (
        _environment()
        .get_template("report.html")
        .render(
            tally=tally,
            source=source,
            city=city,
            at=format_datetime(now.astimezone(ZoneInfo(zone)), "d MMMM y 'kl.' HH.mm", locale="sv"),
            unit=units.__getitem__,
            area=areas.__getitem__,
            inflow=_counted(tally.units, tally.units_sure, units),
            areas=_counted(tally.areas, tally.areas_sure, areas),
            natures=[(_NATURES[Nature(key)], count) for key, count in tally.natures.most_common()],
            languages=[
                (_LANGUAGES.get(key, key or "okänt").capitalize(), count, tally.languages_sure[key])
                for key, count in tally.languages.most_common()
            ],
            kinds=[(words.KINDS.get(key, key), count) for key, count in tally.kinds.most_common()],
            flags=[(words.FLAGS.get(key, key), count) for key, count in tally.flags.most_common()],
            districts=[
                (tally.city.districts[key].name if key else _NO_DISTRICT, count)
                for key, count in tally.districts.most_common()
            ],
            truth=_truth(tally) if tally.with_truth else None,
            bar=pictures.bar,
        )
    )


def _counted(
    counts: Mapping[str, int], sure: Mapping[str, int], names: Mapping[str, str]
) -> list[tuple[str, int, int]]:
    return [
        (names[key], count, sure[key]) for key, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    ]


def _truth(tally: Tally) -> dict[str, Any]:
    """What only the true answers can tell."""
    chosen = None
    if tally.unit_sure.of:
        chosen = (tally.unit_sure.of / tally.unit_first.of, tally.unit_sure.share)
    order, counts = _matrix(tally)
    bins = [
        (stated / hits.of, hits.share, hits.of)
        for stated, hits in zip(tally.stated, tally.bins, strict=True)
        if hits.of
    ]
    curve = tally.curve()
    return {
        "headline": [
            ("Rätt förvaltning överst", tally.unit_first),
            ("Rätt förvaltning bland de tre första", tally.unit_three),
            ("Rätt förvaltning när mailrouter var säker", tally.unit_sure),
            ("Rätt ansvarsområde överst", tally.area_first),
            ("Rätt ansvarsområde bland de tre första", tally.area_three),
        ],
        "curve": pictures.curve(curve, tally.promise, chosen) if curve else None,
        "curve_rows": _levels(curve),
        "reliability": pictures.reliability(bins) if bins else None,
        "bins": bins,
        "matrix": pictures.matrix(counts) if counts else None,
        "order": order,
        "by_unit": sorted(tally.by_unit.items(), key=lambda each: (-each[1].of, each[0])),
        "units": tally.unit_confusions.worst(_PAIRS),
        "areas": tally.area_confusions.worst(_PAIRS),
    }


def _levels(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The curve's precision at every tenth of coverage, as a table has it."""
    rows = []
    for tenth in range(1, 11):
        reached = next((point for point in curve if point[0] >= tenth / 10 - 1e-9), None)
        if reached is not None and reached not in rows:
            rows.append(reached)
    return rows


def _matrix(tally: Tally) -> tuple[list[str], list[list[int]]]:
    """The units of the picture with the most mails first, and how often each was taken for each."""
    known = [unit for unit, _ in sorted(tally.by_unit.items(), key=lambda each: (-each[1].of, each[0]))]
    drawn = known[:_UNITS_DRAWN]
    place = {unit: index for index, unit in enumerate(drawn)}
    others = len(drawn)
    counts = [[0] * (others + 1) for _ in range(others + 1)]
    for (true, suggested), count in tally.unit_confusions.pairs.items():
        counts[place.get(true, others)][place.get(suggested, others)] += count
    if not any(counts[others]) and not any(row[others] for row in counts):
        counts = [row[:others] for row in counts[:others]]
    return drawn, counts


def _number(value: float) -> str:
    return format_decimal(value, locale="sv")


def _share(value: float) -> str:
    return format_percent(value, format="0.0\u00a0%", locale="sv")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mailrouter", "templates/replay"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "share": _share}
    return environment
