"""Managers' figures as tables: the same rows for the page and for files that a spreadsheet opens."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from babel import Locale, UnknownLocaleError

from mailrouter.desk import words
from mailrouter.desk.language import N_, Language
from mailrouter.organisation import Organisation
from mailrouter.reports.discretion import FEWEST, REST, Row
from mailrouter.reports.periods import Period
from mailrouter.reports.statistics import Acceptance, Answers, Overview

Cell = str | int | float | None
WEEK = 7

PERIOD_NAMES = {
    "manaden": N_("Den här månaden"),
    "forra-manaden": N_("Förra månaden"),
    "12-veckor": N_("12 veckor"),
    "aret": N_("I år"),
    "forra-aret": N_("Förra året"),
}
_CHANNELS = {"smtp": N_("E-post (SMTP)"), "lmtp": N_("E-post (LMTP)"), "demo": N_("Provmejl")}
_SUGGESTIONS = {"sure": N_("Säkra förslag"), "unsure": N_("Osäkra förslag"), "none": N_("Utan förslag")}


@dataclass(frozen=True, slots=True)
class Column:
    """``kind`` is text, count, days or share (a part of one)."""

    title: str
    kind: str = "count"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under their columns; the first column names the row. ``bars`` are (length, of it late) for each row."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    bars: Sequence[tuple[int, int]] = ()

    @property
    def longest(self) -> int:
        """The longest bar."""
        return max((length for length, _ in self.bars), default=0)


def tables(of: Overview, organisation: Organisation, spoken: Language, weeks: int) -> dict[str, Table]:
    """All tables of an overview by their name, in the page's order."""
    maker = _Maker(of, organisation, spoken, weeks)
    made = (
        maker.inflow(), maker.answers(), maker.units(), maker.suggestions(), maker.kinds(), maker.districts(),
        maker.channels(), maker.languages(),
    )  # fmt: skip
    return {table.name: table for table in made}


def written(table: Table) -> str:
    """The table as a file for spreadsheets: semicolons and decimal commas, as they are read in Sweden (RFC 4180)."""
    file = io.StringIO()
    sheet = csv.writer(file, delimiter=";", lineterminator="\r\n")
    sheet.writerow([column.title for column in table.columns])
    sheet.writerows([_plain(cell) for cell in row] for row in table.rows)
    return "\ufeff" + file.getvalue()  # without the mark, spreadsheets take it for Latin-1


def _plain(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.4f}".replace(".", ",") if isinstance(cell, float) else str(cell)


class _Maker:
    """One overview in one language."""

    def __init__(self, of: Overview, organisation: Organisation, spoken: Language, weeks: int) -> None:
        self.of, self.organisation, self.spoken, self.weeks = of, organisation, spoken, weeks
        self._ = spoken.gettext

    def inflow(self) -> Table:
        _ = self._
        by_day = self.of.period.by_day
        return Table(
            "inflode",
            _("Inkomna ärenden per dag") if by_day else _("Inkomna ärenden per vecka"),
            [Column(_("Dag") if by_day else _("Vecka"), "text"), Column(_("Ärenden"))],
            [(self.step(one.step), one.count) for one in self.of.inflow],
        )

    def step(self, step: Period) -> str:
        """A day as 2 mars, a week as v. 9 with its year."""
        if self.of.period.by_day:
            return self.spoken.written_day(step.first, step.first)
        year, week, _weekday = step.first.isocalendar()
        return self._("v. %(week)d, %(year)d") % {"week": week, "year": year}

    def answers(self) -> Table:
        _ = self._
        answers = self.of.answers
        rows: list[tuple[str, int, float | None]] = []
        for week in range(1, self.weeks + 1):
            within = sum(count for days, count in answers.days.items() if days <= week * WEEK)
            name = self.spoken.ngettext("Inom %(num)d vecka", "Inom %(num)d veckor", week) % {"num": week}
            rows.append((name, within, _part(within, answers.judged)))
        for name, count in (
            (_("Senare"), answers.answered - answers.in_time),
            (_("Tiden ute, inget svar"), answers.judged - answers.answered),
        ):
            rows.append((name, count, _part(count, answers.judged)))
        columns = [Column(_("Svar"), "text"), Column(_("Ärenden")), Column(_("Andel"), "share")]
        return Table("svarstid", _("Hur snabbt ärendena har besvarats"), columns, rows)

    def units(self) -> Table:
        _ = self._
        rows: list[Sequence[Cell]] = []
        bars = []
        for one in self.of.units:
            waiting, answers = one.waiting, one.answers
            rows.append(
                (self.unit(one.unit), waiting.count, waiting.overdue, one.got, answers.share, answers.median,
                 answers.slow, one.returned)
            )  # fmt: skip
            bars.append((waiting.count or 0, waiting.overdue or 0))
        if self.of.restricted.count != 0:
            few = _("färre än %(num)d") % {"num": FEWEST}
            told = [few if part is None else part for part in (self.of.restricted.count, self.of.restricted.overdue)]
            rows.append((_("Begränsade ärenden, alla"), *told, None, None, None, None, None))
            bars.append((0, 0))
        columns = [
            Column(_("Förvaltning eller bolag"), "text"), Column(_("Väntar nu")), Column(_("Försenade nu")),
            Column(_("Har fått")), Column(_("I tid"), "share"), Column(_("Median"), "days"),
            Column(_("9 av 10"), "days"), Column(_("Återlämnade")),
        ]  # fmt: skip
        return Table("forvaltningar", _("Öppet, svarstid och återlämnat per förvaltning"), columns, rows, bars)

    def unit(self, unit: str) -> str:
        """What a unit is called."""
        return self.organisation.units[unit].name if unit in self.organisation.units else unit

    def suggestions(self) -> Table:
        _ = self._
        rows = [self._suggestion(key, one) for key, one in self.of.acceptance.items()]
        columns = [
            Column(_("Förslag"), "text"), Column(_("Beslut")), Column(_("Följdes")), Column(_("Andel"), "share"),
        ]  # fmt: skip
        return Table("forslag", _("Hur ofta förslagen följs"), columns, rows)

    def _suggestion(self, key: str, one: Acceptance) -> Sequence[Cell]:
        return self._(_SUGGESTIONS[key]), one.decided, one.accepted, one.share

    def kinds(self) -> Table:
        return self._counted("arendetyper", self._("Typ av ärende"), self.of.kinds, self._named(words.KINDS))

    def districts(self) -> Table:
        names = {key: district.name for key, district in self.organisation.districts.items()}
        return self._counted("stadsomraden", self._("Stadsområde"), self.of.districts, self._named(names))

    def channels(self) -> Table:
        return self._counted("kanaler", self._("Väg in"), self.of.channels, self._channel)

    def languages(self) -> Table:
        return self._counted("sprak", self._("Mejlets språk"), self.of.languages, self._language)

    def _counted(self, name: str, caption: str, rows: Sequence[Row], named: Callable[[str], str]) -> Table:
        _ = self._
        total = sum(row.count for row in rows)
        told = [(_("Övriga och okända") if row.value == REST else named(row.value), row.count) for row in rows]
        columns = [Column(caption, "text"), Column(_("Ärenden")), Column(_("Andel"), "share")]
        return Table(
            name,
            caption,
            columns,
            [(*one, _part(one[1], total)) for one in told],
            [(count, 0) for _name, count in told],
        )

    def _named(self, names: Mapping[str, str]) -> Callable[[str], str]:
        return lambda value: self._(names[value]) if value in names else value

    def _channel(self, value: str) -> str:
        if value.startswith("imap:"):
            return self._("E-post (IMAP %(account)s)") % {"account": value.removeprefix("imap:")}
        return self._(_CHANNELS[value]) if value in _CHANNELS else value

    def _language(self, code: str) -> str:
        try:
            name = Locale.parse(code).get_language_name(self.spoken.code)
        except (ValueError, UnknownLocaleError):
            name = None
        return name.capitalize() if name else code


def _part(count: int, whole: int) -> float | None:
    return count / whole if whole else None


def labels(of: Overview, spoken: Language) -> Iterator[str]:
    """Short words below the columns of the inflow: the day as 2/3, the week by its number."""
    for one in of.inflow:
        first = one.step.first
        yield (
            f"{first.day}/{first.month}"
            if of.period.by_day
            else spoken.gettext("v. %(week)d") % {"week": first.isocalendar().week}
        )


__all__ = ["Answers", "Cell", "Column", "Table", "labels", "tables", "written"]
