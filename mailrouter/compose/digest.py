"""What a förvaltning, or its head, is told on a day: all of it in one mail."""

from collections.abc import Mapping
from datetime import date
from email.headerregistry import Address
from typing import Any

from mailrouter.compose.common import ascii_only, basic_header, day, message_id, one_line, render, text_part
from mailrouter.compose.links import LinkAct, address
from mailrouter.config import Settings
from mailrouter.signing import Keys
from mailrouter.tables import Dispatch


def digest(dispatch: Dispatch, settings: Settings, keys: Keys = ()) -> bytes:
    """The digest that ``dispatch.detail`` describes: what was so when it was queued, the same at every try.

    It tells numbers and neutral subjects, nothing of any person. ``keys`` sign a link for each case; without
    them there are none.
    """
    cases: list[Mapping[str, Any]] = dispatch.detail["cases"]
    units = list(dict.fromkeys(str(case["unit"]) for case in cases))
    for_head = dispatch.detail["to"] == "chef"
    rows = [(case, _row(case, settings, () if for_head else keys)) for case in cases]
    note = render(
        "digest.txt",
        {
            "units": units,
            "for_head": for_head,
            "late": [row for case, row in rows if case["days_left"] < 0],
            "coming": [row for case, row in rows if case["days_left"] >= 0],
            "sender": settings.forward.from_name,
        },
    )
    to = Address(one_line(", ".join(units)), addr_spec=dispatch.recipient)
    head = basic_header(dispatch, to, _subject(len(cases), for_head=for_head), settings)
    return b"".join((head, _fields(cases, settings).encode(), *text_part(note)))


def _subject(count: int, *, for_head: bool) -> str:
    if for_head:
        return (
            f"Till chefen: {'1 ärende är inte besvarat' if count == 1 else f'{count} ärenden är inte besvarade'} i tid"
        )
    return f"Påminnelse: {'1 ärende' if count == 1 else f'{count} ärenden'} väntar på er"


def _fields(cases: list[Mapping[str, Any]], settings: Settings) -> str:
    """Tags for rules, the thread where there is only one case, and that a program wrote it (RFC 3834 5.1)."""
    fields = ["X-Mailrouter-Dispatch: digest"]
    fields += [f"X-Mailrouter-Case: {ascii_only(str(case['number']))}" for case in cases]
    if len(cases) == 1:
        thread = f"<{message_id(str(cases[0]['token']), settings)}>"
        fields += [f"In-Reply-To: {thread}", f"References: {thread}"]
    return "".join(f"{field}\r\n" for field in (*fields, "Auto-Submitted: auto-generated", "MIME-Version: 1.0"))


def _row(case: Mapping[str, Any], settings: Settings, keys: Keys) -> dict[str, str]:
    linked = settings.forward.links and keys
    return {
        "number": str(case["number"]),
        "subject": one_line(str(case["subject"])),
        "answer_due": day(date.fromisoformat(case["answer_due"])),
        "left": _left(int(case["days_left"])),
        "diarienummer": one_line(str(case["diarienummer"])),
        "link": address(LinkAct.ANSWERED, str(case["token"]), settings, keys) if linked else "",
    }


def _left(days: int) -> str:
    """How long is left, in words."""
    if days in (0, 1):
        return "i dag" if days == 0 else "i morgon"
    if days > 1:
        return f"om {days} dagar"
    return "1 dag över tiden" if days == -1 else f"{-days} dagar över tiden"
