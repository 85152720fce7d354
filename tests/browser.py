"""Debian's Chromium, headless, that asks nothing of the world outside, and the desk served for it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright

from tests.desk import PASSWORD
from tests.waiting import until

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for the length of the block; while it is open its thread can run no other event loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of an application that answers until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            app.state.desk.live.close()
            server.should_exit = True
            thread.join(10)


@dataclass
class Window:
    """Somebody's browser window. ``asked`` are all addresses it asked for, ``alarms`` what must never happen."""

    context: BrowserContext
    page: Page
    address: str
    asked: list[str]
    alarms: list[str]

    @property
    def strangers(self) -> list[str]:
        """Addresses outside the desk that the browser asked for."""
        return [url for url in self.asked if not url.startswith((self.address, "data:"))]

    def log_in(self, name: str) -> None:
        """Through the form, to the queue."""
        self.page.goto(f"{self.address}/logga-in")
        self.page.get_by_label("Användarnamn").fill(name)
        self.page.get_by_label("Lösenord").fill(PASSWORD)
        self.page.get_by_role("button", name="Logga in").click()
        self.page.get_by_role("heading", name="Att sortera", level=1).wait_for()


def _dismiss(dialog: Dialog, alarms: list[str]) -> None:
    alarms.append(f"dialog {dialog.message}")
    dialog.dismiss()


@contextmanager
def window(
    browser: Browser, address: str, *, javascript: bool = True, width: int = 1440, height: int = 900, dark: bool = False
) -> Iterator[Window]:
    """A fresh window with nobody logged in."""
    context = browser.new_context(
        java_script_enabled=javascript,
        viewport={"width": width, "height": height},
        locale="sv-SE",
        color_scheme="dark" if dark else "light",
    )
    context.set_default_timeout(60_000)
    page = context.new_page()
    opened = Window(context, page, address, [], [])
    context.on("request", lambda request: opened.asked.append(request.url))
    page.on("dialog", lambda dialog: _dismiss(dialog, opened.alarms))
    page.on("pageerror", lambda error: opened.alarms.append(f"error {error}"))
    context.on("page", lambda other: opened.alarms.append(f"popup {other.url}"))
    try:
        yield opened
    finally:
        context.close()
