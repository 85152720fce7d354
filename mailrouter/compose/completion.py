"""What the citizen wrote later, on its way to those who have the case."""

from zoneinfo import ZoneInfo

from mailrouter.compose.common import (
    Names,
    facts,
    file_part,
    header,
    message_id,
    message_part,
    moment,
    multipart,
    render,
    text_part,
)
from mailrouter.compose.transparent import is_transparent
from mailrouter.config import Settings
from mailrouter.organisation import Organisation
from mailrouter.tables import Assignment, Case, Dispatch, Mail


def completion(
    case: Case,
    assignment: Assignment,
    dispatch: Dispatch,
    later: Mail,
    original: bytes,
    forwarded: Dispatch,
    settings: Settings,
    organisation: Organisation | None = None,
) -> bytes:
    """The citizen's later mail, byte for byte; it threads with the forward."""
    filename = f"{case.number}-{later.id}.eml"
    arrived = later.received_at.astimezone(ZoneInfo(settings.city.timezone))
    note = render(
        "completion.txt",
        facts(case, assignment, settings, Names(organisation))
        | {"arrived": moment(arrived), "diarienummer": assignment.external_number, "filename": filename},
    )
    thread = f"<{message_id(forwarded.token, settings)}>"
    fields = f"In-Reply-To: {thread}\r\nReferences: {thread}\r\n".encode()
    carried = (
        message_part(original, filename)
        if is_transparent(original)
        else file_part(original, filename, "application/octet-stream")
    )
    return multipart(header(case, assignment, dispatch, settings) + fields, [text_part(note), carried], dispatch.token)
