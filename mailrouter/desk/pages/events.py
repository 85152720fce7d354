"""The stream that open pages listen to (server-sent events, HTML Living Standard 9.2)."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from mailrouter.desk import queries, words
from mailrouter.desk.context import AtDesk, Desk, Reader
from mailrouter.desk.language import Language
from mailrouter.desk.live import Listener, News
from mailrouter.desk.trays import Tray

router = APIRouter()

HEARTBEAT_SECONDS = 15  # a proxy must not take a quiet stream for a dead one
LONGEST_SECONDS = 300  # then the browser comes again, and has to be logged in still
RETRY_MILLISECONDS = 5000
# A proxy that gathers answers before it passes them on would gather this one for ever.
_HEADERS = {"X-Accel-Buffering": "no", "Cache-Control": "no-store, no-transform"}


@router.get("/handelser")
async def events(request: Request, desk: AtDesk, visitor: Reader, arende: str = "") -> StreamingResponse:
    """News for an open page; with ``arende`` also whether somebody else decides or takes over that case."""
    case_id = await run_in_threadpool(_case_id, desk, visitor, arende) if arende else None
    listener = desk.live.join(visitor, case_id)
    stream = _stream(desk, listener, desk.language_of(request))
    return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)


def _case_id(desk: Desk, visitor: Reader, number: str) -> int:
    with desk.store.read() as session:
        return queries.find(session, visitor, number).id


async def _stream(desk: Desk, listener: Listener, language: Language) -> AsyncIterator[str]:
    """Lines of text/event-stream until the page is gone, the time is over or the server ends."""
    fresh: set[int] = set()
    loop = asyncio.get_running_loop()
    until = loop.time() + LONGEST_SECONDS
    try:
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        while loop.time() < until:
            try:
                news = await asyncio.wait_for(listener.news.get(), HEARTBEAT_SECONDS)
            except TimeoutError:
                yield ":\n\n"
                continue
            if news is None:
                return
            fresh |= news.arrived
            said = json.dumps(_told(desk, listener, language, news, len(fresh)), ensure_ascii=False)
            yield f"event: nytt\ndata: {said}\n\n"
    finally:
        desk.live.part(listener)


def _told(desk: Desk, listener: Listener, language: Language, news: News, fresh: int) -> dict[str, Any]:
    """News as the page shows them: sentences are made here, the page only puts them in their places."""
    came = language.ngettext("%(num)d ärende har kommit till.", "%(num)d ärenden har kommit till.", fresh)
    me = listener.visitor.user_id
    return {
        "counts": {tray.value: words.capped(count) for tray, count in news.counts.items() if tray is not Tray.MINE},
        "fresh": came % {"num": fresh} if fresh else "",
        "holders": {
            news.numbers[key]: language.gettext("{who} har öppnat").format(who=holder.name)
            for key, holder in news.holders.items()
            if holder.user_id != me
        },
        "decided": _decided(desk, listener, language, news),
        "held": _held(listener, language, news),
    }


def _decided(desk: Desk, listener: Listener, language: Language, news: News) -> str:
    """What somebody else did to the case that the page shows; empty when nothing."""
    event = news.decided.get(listener.case_id) if listener.case_id is not None else None
    if event is None or event.actor == listener.visitor.name:
        return ""
    who = "" if event.actor == "mailrouter" else f"{event.actor}, "
    return f"{words.event(language.gettext, event)} ({who}{language.moment(event.at, desk.clock())})."


def _held(listener: Listener, language: Language, news: News) -> str:
    """Who has taken the case over; empty while nobody has."""
    holder = news.holders.get(listener.case_id) if listener.case_id is not None else None
    if holder is None or holder.user_id == listener.visitor.user_id:
        return ""
    return language.gettext("{who} har tagit över ärendet.").format(who=holder.name)
