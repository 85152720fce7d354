"""The trays of the desk: which cases stand in each, and in which order.

Every order ends in the case's id, so a place in it is a key (keyset paging): the next page costs the same
however deep it lies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    SQLColumnExpression,
    Text,
    and_,
    case,
    cast,
    exists,
    literal,
    literal_column,
    or_,
    true,
    tuple_,
)
from sqlmodel import col

from mailrouter.desk.language import N_
from mailrouter.desk.words import FLAG_RANKS
from mailrouter.tables import Assignment, AssignmentState, Case, CaseState, Dispatch, DispatchState, UtcDateTime

_EMPTY: ColumnElement[str] = literal_column("''")  # written out, so that a partial index on attention fits


_NOT_A_CASE: ColumnElement[str] = literal_column("'ej-arende'")  # the same for the index on it
_BACK = and_(col(Case.attention) != _EMPTY, col(Case.state) != CaseState.QUARANTINED)
_FAILED = col(Dispatch.state) == DispatchState.FAILED
_RETURNED = col(Assignment.state) == AssignmentState.RETURNED


class Tray(StrEnum):
    """What a person opens; the value stands in the address line."""

    SORT = "att-sortera"
    UNSURE = "osakra"
    BACK = "tillbaka"
    FAILED = "ej-levererade"
    RETURNED = "aterlamnade"
    FOREIGN = "andra-sprak"
    QUARANTINE = "karantan"
    MINE = "mina"
    RESTRICTED = "begransade"
    ROUTED = "vidarebefordrade"
    ANSWERED = "besvarade"
    CLOSED = "avslutade"
    NOT_A_CASE = "ej-arenden"
    ALL = "alla"


NAMES = {
    Tray.SORT: N_("Att sortera"),
    Tray.UNSURE: N_("Osäkra förslag"),
    Tray.BACK: N_("Tillbaka till oss"),
    Tray.FAILED: N_("Kom inte fram"),
    Tray.RETURNED: N_("Återlämnade"),
    Tray.FOREIGN: N_("Andra språk"),
    Tray.QUARANTINE: N_("Karantän"),
    Tray.MINE: N_("Mina"),
    Tray.RESTRICTED: N_("Begränsade"),
    Tray.ROUTED: N_("Vidarebefordrade"),
    Tray.ANSWERED: N_("Besvarade"),
    Tray.CLOSED: N_("Avslutade"),
    Tray.NOT_A_CASE: N_("Inte ärenden"),
    Tray.ALL: N_("Alla ärenden"),
}

EXPLANATIONS = {
    Tray.SORT: N_("Allt som väntar på att någon väljer mottagare. Brådskande först, sedan efter svarsdatum."),
    Tray.UNSURE: N_("Mejl där mailrouter inte vet säkert vart de ska. De finns också i Att sortera."),
    Tray.BACK: N_("Kunde inte levereras, lämnades tillbaka eller fick ett svar som någon behöver läsa."),
    Tray.FAILED: N_("Ett mejl härifrån nådde inte sin mottagare. Välj en annan, eller kontrollera adressen."),
    Tray.RETURNED: N_("En förvaltning har lämnat tillbaka ärendet. Läs varför och välj en annan."),
    Tray.FOREIGN: N_("Mejl att sortera som inte är skrivna på svenska. De finns också i Att sortera."),
    Tray.MINE: N_("Det du har öppet, och det du har beslutat senast. Nyast först."),
    Tray.NOT_A_CASE: N_("Avslutade som inget ärende, som reklam och autosvar. Öppna igen om något hamnat fel."),
    Tray.QUARANTINE: N_(
        "Mejl som inte gick att läsa, eller som någon har ställt åt sidan. Sortera för hand eller läs igen."
    ),
    Tray.RESTRICTED: N_("Bara du och andra med behörighet ser dem. Att du öppnar ett skrivs i ärendets historik."),
    Tray.ROUTED: N_("Överlämnade till en förvaltning som ännu inte har svarat. Närmast svarsdatum först."),
    Tray.ANSWERED: N_("Besvarade av förvaltningen. Nyast först."),
    Tray.CLOSED: N_("Avslutade ärenden. Senast avslutade först."),
    Tray.ALL: N_("Alla ärenden, nyast först."),
}


def flagged(flag: str) -> ColumnElement[bool]:
    """True for cases with the flag; the list is stored as JSON text in both databases."""
    return cast(col(Case.flags), Text).contains(f'"{flag}"', autoescape=True)


RANK: ColumnElement[int] = case(
    *(
        (or_(*(flagged(flag) for flag, its in FLAG_RANKS.items() if its == rank)), rank)
        for rank in sorted(set(FLAG_RANKS.values()))
    ),
    else_=max(FLAG_RANKS.values()) + 1,
)


def rank_of(flags: Sequence[str]) -> int:
    """RANK of one case in Python."""
    return min((FLAG_RANKS[flag] for flag in flags if flag in FLAG_RANKS), default=max(FLAG_RANKS.values()) + 1)


def unsure() -> ColumnElement[bool]:
    """No suggestion yet, or one that mailrouter itself does not trust."""
    return or_(col(Case.suggested_at).is_(None), col(Case.suggestion)["abstain"].as_boolean().is_(True))


@cache
def within(tray: Tray) -> ColumnElement[bool]:
    """The condition a case of the tray fulfils; whose MINE is, queries.matching says."""
    state = col(Case.state)
    conditions: dict[Tray, ColumnElement[bool]] = {
        Tray.SORT: state == CaseState.OPEN,
        Tray.UNSURE: and_(state == CaseState.OPEN, unsure()),
        Tray.BACK: _BACK,
        Tray.FAILED: and_(_BACK, exists().where(col(Dispatch.case_id) == Case.id, _FAILED)),
        Tray.RETURNED: and_(_BACK, exists().where(col(Assignment.case_id) == Case.id, _RETURNED)),
        Tray.FOREIGN: and_(state == CaseState.OPEN, col(Case.language).not_in(("", "sv"))),
        Tray.QUARANTINE: state == CaseState.QUARANTINED,
        Tray.MINE: true(),
        Tray.RESTRICTED: and_(col(Case.restricted) != _EMPTY, state.in_((CaseState.OPEN, CaseState.QUARANTINED))),
        Tray.ROUTED: state == CaseState.ROUTED,
        Tray.ANSWERED: state == CaseState.ANSWERED,
        Tray.CLOSED: state == CaseState.CLOSED,
        Tray.NOT_A_CASE: col(Case.closed_as) == _NOT_A_CASE,
        Tray.ALL: true(),
    }
    return conditions[tray]


@dataclass(frozen=True, slots=True)
class Order:
    """An order of cases: ``by`` are expressions, all rising or all falling."""

    by: tuple[SQLColumnExpression[Any], ...]
    falling: bool = False

    def clauses(self, *, backwards: bool = False) -> list[SQLColumnExpression[Any]]:
        """For ORDER BY."""
        falling = self.falling is not backwards
        return [expression.desc() if falling else expression.asc() for expression in self.by]

    def beyond(self, place: Sequence[Any], *, backwards: bool = False) -> ColumnElement[bool]:
        """Cases behind a place, or before it when ``backwards``."""
        values = tuple_(*(_typed(value) for value in place))
        return tuple_(*self.by) < values if self.falling is not backwards else tuple_(*self.by) > values


def _typed(value: Any) -> ColumnElement[Any]:
    """A value for a comparison; moments are stored in a way of our own."""
    return literal(value, UtcDateTime()) if isinstance(value, datetime) else literal(value)


_ID = col(Case.id)
_URGENT = Order((RANK, col(Case.answer_due), _ID))
_DUE = Order((col(Case.answer_due), _ID))
_NEWEST = Order((_ID,), falling=True)
_LAST_CLOSED = Order((col(Case.closed_at), _ID), falling=True)

ORDERS = {
    Tray.SORT: _URGENT,
    Tray.UNSURE: _URGENT,
    Tray.BACK: _URGENT,
    Tray.FAILED: _URGENT,
    Tray.RETURNED: _URGENT,
    Tray.FOREIGN: _URGENT,
    Tray.MINE: _NEWEST,
    Tray.QUARANTINE: _NEWEST,
    Tray.RESTRICTED: _URGENT,
    Tray.ROUTED: _DUE,
    Tray.ANSWERED: _NEWEST,
    Tray.CLOSED: _LAST_CLOSED,
    Tray.NOT_A_CASE: _LAST_CLOSED,
    Tray.ALL: _NEWEST,
}


def place_of(of: Case, tray: Tray) -> tuple[Any, ...]:
    """Where a case stands, or would stand, in a tray's order."""
    order = ORDERS[tray]
    if order is _URGENT:
        return rank_of(of.flags), of.answer_due, of.id
    if order is _DUE:
        return of.answer_due, of.id
    if order is _LAST_CLOSED:
        return of.closed_at or of.opened_at, of.id
    return (of.id,)


def write_place(place: Sequence[Any]) -> str:
    """A place as it stands in the address line."""
    return "_".join(part.isoformat() if isinstance(part, date | datetime) else str(part) for part in place)


def read_place(written: str, tray: Tray) -> tuple[Any, ...] | None:
    """A place from the address line; None when somebody has bent it, which then means the first page."""
    readers = {_URGENT: (int, date.fromisoformat, int), _DUE: (date.fromisoformat, int), _NEWEST: (int,)}
    reading = readers.get(ORDERS[tray], (datetime.fromisoformat, int))
    parts = written.split("_")
    if len(parts) != len(reading):
        return None
    try:
        place = tuple(read(part) for read, part in zip(reading, parts, strict=True))
    except ValueError:
        return None
    return place if _storable(place) else None


def _storable(place: Sequence[Any]) -> bool:
    """Numbers both databases take, and moments with a zone."""
    return all(
        (not isinstance(part, int) or abs(part) < 2**31) and (not isinstance(part, datetime) or part.tzinfo is not None)
        for part in place
    )
