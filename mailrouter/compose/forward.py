"""The citizen's mail on its way to a förvaltning."""

import hashlib
import json
from typing import Any
from zoneinfo import ZoneInfo

from mailrouter.compose.caution import PROTECTED, is_protected, is_quiet, subject_of
from mailrouter.compose.common import (
    Names,
    facts,
    file_part,
    header,
    message_part,
    multipart,
    one_line,
    render,
    reply_address,
    text_part,
)
from mailrouter.compose.links import labelled
from mailrouter.compose.transparent import is_transparent
from mailrouter.config import Settings
from mailrouter.organisation import Organisation
from mailrouter.signing import Keys
from mailrouter.tables import Assignment, Case, Dispatch

# What the registrator reads for a flag or a kind: a guess of ours, and what follows from it if it is right.
FLAG_WORDS = {
    "barn": "Ärendet kan röra barn.",
    "bradskande": "Ärendet kan vara brådskande.",
    "hot": "Mejlet kan innehålla hot.",
    "kanslig": "Mejlet kan innehålla känsliga uppgifter.",
    "overklagande-frist": "Det kan finnas en tid för överklagande att hålla. Tiden ovan är när mejlet kom in.",
    PROTECTED: "Det kan finnas skyddade personuppgifter. Pröva sekretessen innan något lämnas ut.",
}
KIND_WORDS = {
    "begaran-handling": (
        "Det kan vara en begäran om allmän handling, som ska besvaras skyndsamt (tryckfrihetsförordningen 2 kap. 15 §)."
    ),
    "orosanmalan": (
        "Det kan vara en orosanmälan, som ska bedömas genast. Se till att mottagningen vet om den, helst per telefon."
    ),
    "overklagande": "Det kan vara ett överklagande. Tiden ovan är när det kom in (förvaltningslagen 22 §).",
}


def forward(
    case: Case,
    assignment: Assignment,
    dispatch: Dispatch,
    original: bytes,
    settings: Settings,
    organisation: Organisation | None = None,
    *,
    is_named: bool = True,
    keys: Keys = (),
) -> bytes:
    """The citizen's mail on its way to a förvaltning. ``original`` comes out at the other end byte for byte.

    It travels as message/rfc822, which must not be encoded (RFC 2046 5.2.1). An original that SMTP or a
    relay would change under way travels as a base64 file instead; ``is_transparent`` draws the line.
    ``is_named`` is False when it is not known who the citizen is, as behind a web form that nobody signed.
    ``keys`` sign the links of the note; without them it has none.
    """
    names = Names(organisation)
    is_named = is_named and not is_quiet(case)
    as_message = is_transparent(original)
    filename = f"{case.number}.eml"
    note = render(
        "forward.txt",
        facts(case, assignment, settings, names)
        | {
            "citizen": _citizen(case) if is_named else "framgår av originalet",
            "notices": _notices(case),
            "reasons": _reasons(case, assignment),
            "as_message": as_message,
            "filename": filename,
            "links": labelled(dispatch.token, settings, keys),
        },
    )
    described = _arende_json(
        case,
        assignment,
        settings,
        names,
        citizen={"name": case.sender_name, "address": case.sender} if is_named else None,
        reply_to=reply_address(dispatch.token, settings),
        original={"filename": filename, "size": len(original), "sha256": hashlib.sha256(original).hexdigest()},
    )
    parts = [
        text_part(note),
        message_part(original, filename) if as_message else file_part(original, filename, "application/octet-stream"),
        file_part(described, "arende.json", "application/json"),
    ]
    return multipart(header(case, assignment, dispatch, settings), parts, dispatch.token)


def _citizen(case: Case) -> str:
    name, address = one_line(case.sender_name), one_line(case.sender)
    if name and address:
        return f"{name} <{address}>"
    return address or name or "okänd"


def _notices(case: Case) -> list[str]:
    """What to look at twice; a flag from a newer rule stands with its own name."""
    kind = [KIND_WORDS[case.kind]] if case.kind in KIND_WORDS else []
    return kind + [FLAG_WORDS.get(flag, f"Märkt: {one_line(flag)}.") for flag in case.flags]


def _reasons(case: Case, assignment: Assignment) -> list[str]:
    """Why this förvaltning: what spoke for the suggestion when it was followed, and who decided."""
    suggestion = case.suggestion or {}
    chosen = f"Valt av {assignment.created_by} på kontaktcenter."
    if suggestion.get("unit") != assignment.unit or is_quiet(case):  # reasons repeat words of the mail
        return [chosen]
    said = [one["text"] for one in suggestion.get("reasons", []) if one["kind"] != "similar"]  # cases they cannot see
    return [*(one_line(str(text)) for text in said[:3]), chosen]


def _arende_json(
    case: Case,
    assignment: Assignment,
    settings: Settings,
    names: Names,
    *,
    citizen: dict[str, str] | None,
    reply_to: str,
    original: dict[str, Any],
) -> bytes:
    """The case for machines. docs/registrator.md explains the keys; ``version`` grows when one changes meaning."""
    described = {
        "version": 1,
        "number": case.number,
        "subject": subject_of(case),
        "kind": case.kind,
        "area": {"id": assignment.area, "name": names.area(assignment.area)},
        "unit": {"id": assignment.unit, "name": assignment.unit_name},
        "district": None if is_protected(case) else case.district or None,
        "flags": case.flags,
        "language": case.language,
        "arrived_at": case.opened_at.astimezone(ZoneInfo(settings.city.timezone)).isoformat(timespec="seconds"),
        "answer_due": assignment.answer_due.isoformat(),
        "wants_answer": case.wants_answer,
        "citizen": citizen,
        "reply_to": reply_to,
        "original": original,
    }
    return json.dumps(described, ensure_ascii=False, indent=1).encode()
