"""What a förvaltning is reminded of."""

from zoneinfo import ZoneInfo

from mailrouter.compose.common import Names, day, facts, header, message_id, render, text_part
from mailrouter.config import Settings
from mailrouter.organisation import Organisation
from mailrouter.tables import Assignment, Case, Dispatch


def reminder(
    case: Case,
    assignment: Assignment,
    dispatch: Dispatch,
    forwarded: Dispatch,
    settings: Settings,
    organisation: Organisation | None = None,
) -> bytes:
    """A reminder to the mailbox that got the forward; it threads with it and tells nothing of the person."""
    zone = ZoneInfo(settings.city.timezone)
    note = render(
        "reminder.txt",
        facts(case, assignment, settings, Names(organisation))
        | {
            "days_left": (assignment.answer_due - dispatch.created_at.astimezone(zone).date()).days,
            "forwarded": day((forwarded.settled_at or forwarded.created_at).astimezone(zone).date()),
            "diarienummer": assignment.external_number,
        },
    )
    thread = f"<{message_id(forwarded.token, settings)}>"
    fields = f"In-Reply-To: {thread}\r\nReferences: {thread}\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
    return b"".join((header(case, assignment, dispatch, settings), fields.encode(), *text_part(note)))
