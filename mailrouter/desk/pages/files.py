"""What came with a letter: the original, its attachments, and its HTML made harmless."""

import base64
import hashlib

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from mailrouter import letter
from mailrouter.desk import queries
from mailrouter.desk.auth import Visitor
from mailrouter.desk.context import AtDesk, Desk, Reader
from mailrouter.desk.letterview import clean_html, disposition, safe_filename
from mailrouter.desk.secrecy import note_reading
from mailrouter.diarium import NoSuchCaseError

router = APIRouter(prefix="/arende/{number}/mejl/{mail_id}")

# Whatever a browser makes of a download, it runs nothing and asks for nothing.
DOWNLOAD_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
LONGEST_RAW = 1_000_000  # octets; the whole is in the original
_STYLE = """
:root{color-scheme:light dark;font:1.0625rem/1.6 Charter,"Iowan Old Style",Georgia,"Noto Serif",serif}
body{margin:0;padding:.25rem 1rem 1rem 0;overflow-wrap:anywhere;max-width:44rem}
table{border-collapse:collapse}td,th{padding:.2rem .6rem .2rem 0;vertical-align:top;text-align:left}
blockquote{margin:.5rem 0;padding-left:1rem;border-left:3px solid #8888}
pre{white-space:pre-wrap}h1,h2,h3,h4,h5,h6{font-size:1.0625rem}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
VIEW_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; sandbox; frame-ancestors 'self'"


@router.get("/original")
def original(desk: AtDesk, visitor: Reader, number: str, mail_id: int) -> Response:
    """The mail byte for byte."""
    found, octets = _octets(desk, visitor, number, mail_id)
    return _download(octets, f"{found}-{mail_id}.eml")


@router.get("/ratt")
def raw(desk: AtDesk, visitor: Reader, number: str, mail_id: int) -> Response:
    """The mail as it came, as plain text that no browser makes anything of: for one that could not be read."""
    _, octets = _octets(desk, visitor, number, mail_id)
    text = octets[:LONGEST_RAW].decode("utf-8", "replace")
    return Response(text, media_type="text/plain", headers={"Content-Security-Policy": DOWNLOAD_POLICY})


@router.get("/bilaga/{index}")
def attachment(desk: AtDesk, visitor: Reader, number: str, mail_id: int, index: int) -> Response:
    """One attachment, decoded. Its declared type is not believed."""
    _, octets = _octets(desk, visitor, number, mail_id)
    attachments = letter.parse(octets).attachments
    if not 0 <= index < len(attachments):
        raise NoSuchCaseError("there is no such attachment")
    return _download(attachments[index].octets, safe_filename(attachments[index], index))


@router.get("/html")
def html(request: Request, desk: AtDesk, visitor: Reader, number: str, mail_id: int) -> Response:
    """The letter's HTML for the frame on the case's page."""
    _, octets = _octets(desk, visitor, number, mail_id)
    language = desk.language_of(request)
    body = clean_html(letter.parse(octets).html)
    title = language.gettext("Mejlet med formatering")
    page = (
        f'<!doctype html><html lang="{language.code}"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><body>{body}</body></html>"
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": VIEW_POLICY, "X-Frame-Options": "SAMEORIGIN"})


def _octets(desk: Desk, visitor: Visitor, number: str, mail_id: int) -> tuple[str, bytes]:
    """The case's number and the mail's octets. Raises NoSuchCaseError when the visitor may not see them."""
    if not 0 < mail_id < 2**31:
        raise NoSuchCaseError("there is no such mail")
    with desk.store.read() as session:
        case = queries.find(session, visitor, number)
        found = queries.octets(session, case, mail_id)
    if found is None:
        raise NoSuchCaseError("there is no such mail")
    note_reading(desk, visitor.name, case)
    return case.number, found


def _download(octets: bytes, filename: str) -> Response:
    headers = {"Content-Disposition": disposition(filename), "Content-Security-Policy": DOWNLOAD_POLICY}
    return Response(octets, media_type="application/octet-stream", headers=headers)
