"""Swedish as the source, English as second language."""

import gettext
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_time
from babel.numbers import format_decimal, format_percent

from mailrouter.translations import SOURCE, catalogue

__all__ = ["NAMES", "N_", "SOURCE", "Due", "Gettext", "Language", "load"]

NAMES = {"sv": "Svenska", "en": "English"}
SOON_DAYS = 7  # an answer date this near is shown as near

Gettext = Callable[[str], str]


def N_(message: str) -> str:  # noqa: N802 (the name gettext tools know)
    """Mark a sentence for the catalogue where it is only looked up later."""
    return message


@dataclass(frozen=True, slots=True)
class Due:
    """How an answer date stands to today: ``nearness`` is late, today, soon or later."""

    on: date
    nearness: str
    text: str


@dataclass(frozen=True)
class Language:
    """One language with its sentences and its way to write days and shares."""

    code: str
    translations: gettext.NullTranslations
    zone: ZoneInfo

    def gettext(self, message: str) -> str:
        """The sentence in this language; Swedish itself when nobody has translated it."""
        return self.translations.gettext(message)

    def ngettext(self, one: str, many: str, count: int) -> str:
        """The sentence for ``count`` things."""
        if self.code == SOURCE:
            return one if count == 1 else many
        return self.translations.ngettext(one, many, count)

    def named(self, code: str) -> str:
        """The name of a language; its code when nobody has named it."""
        return str(self._locale.languages.get(code, code))

    def percent(self, share: float) -> str:
        """0.874 as 87 %, never more sure than 99 % nor less than 1 %: a model knows neither."""
        return format_percent(min(max(share, 0.01), 0.99), format="0 %", locale=self._locale)

    def exact_percent(self, share: float) -> str:
        """A share of what has been counted: 0.874 as 87 %; 0.9996 as 99.9 %, since it is not all."""
        close = 0 < share < 0.01 or 0.99 < share < 1
        shown = min(max(share, 0.001), 0.999) if close else share
        return format_percent(shown, format="0.0 %" if close else "0 %", locale=self._locale)

    def count(self, number: int) -> str:
        """12345 as 12 345."""
        return format_decimal(number, locale=self._locale)

    def size(self, octets: int) -> str:
        """A size as people say it, in steps of a thousand."""
        if octets < 1000:
            return f"{octets} byte"
        value, unit = (octets / 1000, "kB") if octets < 1_000_000 else (octets / 1_000_000, "MB")
        return f"{format_decimal(value, '0.#' if value < 10 else '0', locale=self._locale)} {unit}"

    def day(self, day: date, today: date) -> str:
        """A day as people say it; the year only when it is another one."""
        if day == today:
            return self.gettext("i dag")
        if day == today - timedelta(days=1):
            return self.gettext("i går")
        return self.written_day(day, today)

    def written_day(self, day: date, today: date) -> str:
        """Day and month, and the year when it is another one."""
        pattern = "d MMMM" if day.year == today.year else "d MMMM y"
        return format_date(day, pattern, locale=self._locale)

    def moment(self, at: datetime, now: datetime) -> str:
        """A moment on the city's clock."""
        local = at.astimezone(self.zone)
        clock = format_time(local.time(), "HH:mm", locale=self._locale)
        return f"{self.day(local.date(), now.astimezone(self.zone).date())} {clock}"

    def due(self, on: date, today: date) -> Due:
        """An answer date with how far away it is."""
        days = (on - today).days
        if days < 0:
            said = self.ngettext("%(num)d dag försenat", "%(num)d dagar försenat", -days)
            return Due(on, "late", said % {"num": -days})
        if days == 0:
            return Due(on, "today", self.gettext("svar senast i dag"))
        said = self.ngettext("svar inom %(num)d dag", "svar inom %(num)d dagar", days) % {"num": days}
        return Due(on, "soon" if days <= SOON_DAYS else "later", said)

    @property
    def _locale(self) -> Locale:
        return Locale.parse("sv_SE" if self.code == SOURCE else "en_GB")


def load(zone: ZoneInfo) -> dict[str, Language]:
    """Every language of the desk by its code."""
    return {code: Language(code, catalogue("mailrouter", code), zone) for code in NAMES}
