"""The desk in tests: the real application over a real store, people who log in, and letters to sort."""

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from email.message import EmailMessage
from functools import cache
from typing import ClassVar

import httpx
from fastapi import FastAPI
from httpx import Response
from sqlmodel import select

from mailrouter import config, organisation, reading
from mailrouter.classify.values import Candidate, Query, Reason, Verdict
from mailrouter.config import Settings
from mailrouter.desk import auth, create_app
from mailrouter.organisation import Organisation
from mailrouter.store import Store
from mailrouter.tables import Role, User
from tests.clock import NOW
from tests.register import take

PASSWORD = "hemligt ord 1"
STREETS, WATER, SCHOOLS = "stadsmiljoforvaltningen", "kretslopp-och-vatten", "grundskoleforvaltningen"


@cache
def city() -> Organisation:
    """The city as it comes with the program."""
    return organisation.load(config.Classify().organisation)


@dataclass
class Clock:
    """A clock that a test moves."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


class WordClassifier:
    """Judges by the first word of the subject it knows, so that a test decides what is suggested."""

    by = "regler test, modell test"
    words: ClassVar[dict[str, Verdict]] = {
        "lampa": Verdict(
            (
                Candidate("gatubelysning", STREETS, 0.93),
                Candidate("renhallning", STREETS, 0.04),
                Candidate("avlopp-oversvamning", WATER, 0.02),
            ),
            "felanmalan", "centrum", ("bradskande",), "sv", (Reason("word", "Mejlet nämner en lampa."),), False, by,
        ),
        "bidrag": Verdict(
            (
                Candidate("forsorjningsstod", None, 0.62),
                Candidate("hemtjanst", "aldre-vard-och-omsorg", 0.2),
                Candidate("kollektivtrafik", "vasttrafik", 0.1),
            ),
            "fraga", None, (), "sv", (), True, by,
        ),
    }  # fmt: skip
    plain = Verdict(
        (
            Candidate("grundskola-placering", SCHOOLS, 0.71),
            Candidate("gatubelysning", STREETS, 0.2),
            Candidate("renhallning", STREETS, 0.05),
        ),
        "fraga", None, (), "sv", (), False, by,
    )  # fmt: skip

    def classify(self, queries: Sequence[Query], on: date) -> list[Verdict]:
        """One verdict a query."""
        return [self._verdict(query.subject.lower()) for query in queries]

    def _verdict(self, subject: str) -> Verdict:
        return next((verdict for word, verdict in self.words.items() if word in subject), self.plain)


def letter(
    subject: str,
    body: str = "Hej!\n\nKan ni hjälpa mig?\n",
    *,
    sender: str = "Anna Berg <anna@post.example>",
    html: str = "",
    attachments: Sequence[tuple[str, str, bytes]] = (),
) -> bytes:
    """A mail; attachments are file name, content type and octets."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, "goteborg@stad.example", subject
    mail["Date"] = "Mon, 02 Mar 2026 09:00:00 +0100"
    mail["Message-ID"] = f"<{abs(hash((subject, body, sender)))}@post.example>"
    mail.set_content(body)
    if html:
        mail.add_alternative(html, subtype="html")
    for filename, content_type, octets in attachments:
        maintype, subtype = content_type.split("/")
        mail.add_attachment(octets, maintype=maintype, subtype=subtype, filename=filename)
    return mail.as_bytes().replace(b"\n", b"\r\n")


def receive(store: Store, *mails: bytes) -> list[str]:
    """Register, read and judge mails; their cases' numbers. No acknowledgements: what leaves, the desk decided."""
    taken = take(store, *mails)
    silent = Settings(citizen=config.Citizen(acknowledge=False))
    while reading.read_due(store, WordClassifier(), silent, NOW):
        pass
    return [one.number for one in taken]


def hire(store: Store, name: str, role: Role = Role.SERVICEVAGLEDARE, unit: str = "") -> None:
    """Somebody who may log in with PASSWORD."""
    with store.write() as session:
        auth.create_user(session, name, PASSWORD, role, NOW, unit=unit)


def open_desk(store: Store, clock: Clock | None = None, settings: Settings | None = None) -> FastAPI:
    """The desk over a store."""
    return create_app(store, settings or Settings(), city(), clock=clock or Clock())


class Direct(httpx.BaseTransport):
    """Hands requests to an application in this process."""

    def __init__(self, app: FastAPI) -> None:
        self._inner = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> Response:
        """One request and its whole answer."""

        async def ask() -> Response:
            async with httpx.AsyncClient(transport=self._inner) as client:
                sent = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
                return await client.send(sent)

        with ThreadPoolExecutor(1) as apart:  # this thread may be a browser's, which has an event loop already
            answer = apart.submit(asyncio.run, ask()).result()
        return Response(answer.status_code, headers=answer.headers, content=answer.content)


@dataclass
class Person:
    """A browser without JavaScript, and whoever sits before it."""

    app: FastAPI
    name: str = "eva"
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(transport=Direct(self.app), base_url="http://desk.example", follow_redirects=True)

    def log_in(self, password: str = PASSWORD, wanted: str = "/") -> Response:
        """Fill in the form as a person would."""
        page = self.client.get("/logga-in", params={"till": wanted})
        form = hidden(page.text) | {"namn": self.name, "losenord": password}
        return self.client.post("/logga-in", data=form)

    def enter(self, store: Store) -> "Person":
        """Be logged in already, for tests that are not about the door."""
        with store.write() as session:
            user = session.exec(select(User).where(User.name == self.name)).one()
            token = auth.open_login(session, user, now=NOW, hours=10)
        self.client.cookies.set("mailrouter", token, domain="desk.example")
        return self

    def look(self, number: str, **query: str) -> Response:
        """Open a case."""
        return self.client.get(f"/arende/{number}", params=query)

    def send(self, page: Response, action: str, **fields: object) -> Response:
        """Send one of the forms on a page, with what it carries and what the person filled in."""
        form = form_of(page.text, action)
        return self.client.post(form.action, data=form.hidden | fields)


@dataclass(frozen=True)
class Form:
    """A form of a page: where it goes and what it carries unseen."""

    action: str
    hidden: dict[str, str]


def form_of(html: str, action: str) -> Form:
    """The form whose address ends with ``action``."""
    for match in re.finditer(r'<form action="([^"]*)" method="post".*?</form>', html, re.DOTALL):
        if match.group(1).endswith(action):
            return Form(match.group(1), hidden(match.group(0)))
    raise AssertionError(f"the page has no form {action}")


def hidden(html: str) -> dict[str, str]:
    """The unseen fields of a form."""
    return dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', html))


def marked(html: str) -> list[str]:
    """The receivers that are marked when the page opens."""
    return re.findall(r'<input type="radio" name="val" value="([^"]*)"[^>]* checked>', html)
