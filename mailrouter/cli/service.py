"""Commands that run and watch the service: run, demo, check, health."""

import logging
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import click
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from mailrouter import check as checks
from mailrouter import config as configuration
from mailrouter import demo, store
from mailrouter.cli.common import config_option, echo_json, json_option, load, open_store
from mailrouter.config import ConfigError, Settings
from mailrouter.daemon import ROLES
from mailrouter.store import Store
from mailrouter.tables import Heartbeat, Restriction, Role, User

DEMO_USER = "demo"
DEMO_PASSWORD = "synpunkt-demo"  # noqa: S105 (printed on purpose, and only ever set on a loopback desk)
ALIVE = timedelta(seconds=60)
MAX_PAUSE_SECONDS = 30


def _roles(_context: click.Context, _parameter: click.Parameter, value: str) -> Sequence[str]:
    roles = [role.strip() for role in value.split(",") if role.strip()]
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        raise click.BadParameter(f"choose among {', '.join(ROLES)}")
    return roles


@click.command(epilog="Example: mailrouter run --config /etc/mailrouter/mailrouter.toml --only doors,work")
@config_option
@click.option(
    "--only",
    "roles",
    default=",".join(ROLES),
    show_default=True,
    callback=_roles,
    help="Run only these roles on this node; the others run elsewhere on the same database.",
)
@click.option("--demo", "with_demo", is_flag=True, help="Add a demo login and a dozen sample mails.")
def run(config_file: Path | None, roles: Sequence[str], with_demo: bool) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    settings = load(config_file)
    problems = checks.start_problems(settings)
    if problems:
        raise ConfigError("\n".join(problems))
    opened = _await_store(settings)
    if with_demo:
        _prepare_demo(opened, settings)
    _say_where(settings, roles, with_demo)
    opened.dispose()
    _become_daemon(config_file, roles, with_demo)


def _become_daemon(config_file: Path | None, roles: Sequence[str], with_demo: bool) -> NoReturn:
    """Go on as the small program that only watches: what this command loaded is not needed any more."""
    arguments = ["--config", str(config_file)] if config_file else []
    arguments += ["--demo"] if with_demo else []
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "mailrouter.daemon", *arguments, *roles])  # noqa: S606


def _await_store(settings: Settings) -> Store:
    """Connect and migrate; while the database does not answer, say so and try again."""
    opened = store.connect(settings.store)
    pause = 1.0
    while True:
        try:
            store.migrate(opened)
        except OperationalError as error:
            words = str(error.orig).strip().partition("\n")[0]
            click.echo(f"The database does not answer ({words}); next try in {pause:.0f} s.", err=True)
            time.sleep(pause)
            pause = min(pause * 2, MAX_PAUSE_SECONDS)
        else:
            return opened


def _prepare_demo(opened: Store, settings: Settings) -> None:
    if not settings.desk.listen.startswith(("127.0.0.1:", "localhost:", "[::1]:")):
        raise ConfigError(
            f"--demo makes a login anybody knows; desk.listen is {settings.desk.listen}, not this machine"
        )
    from mailrouter.desk import auth  # noqa: PLC0415 (argon2 and the web are for the desk's commands only)

    with opened.write() as session:
        if session.exec(select(User).where(User.name == DEMO_USER)).first() is None:
            auth.create_user(
                session, DEMO_USER, DEMO_PASSWORD, Role.ADMIN, datetime.now(UTC), clearances=list(Restriction)
            )


def _say_where(settings: Settings, roles: Sequence[str], with_demo: bool) -> None:
    doors = "doors" in roles
    lines = [
        ("Register", make_url(settings.store.url).render_as_string(hide_password=True)),
        ("Desk", settings.desk.base_url if "desk" in roles else ""),
        ("Login", f"{DEMO_USER} / {DEMO_PASSWORD}" if with_demo else ""),
        ("SMTP door", settings.smtp.listen if doors else ""),
        ("LMTP door", settings.smtp.lmtp_listen if doors else ""),
        ("IMAP", ", ".join(account.name for account in settings.imap) if doors else ""),
        ("Forwards to", _destination(settings) if "work" in roles else ""),
        ("Send a mail", demo.send_command(settings) if doors and settings.smtp.listen else ""),
    ]
    click.echo("mailrouter is starting; Ctrl-C ends it.")
    for name, value in lines:
        if value:
            click.echo(f"  {name:<12} {value}")


def _destination(settings: Settings) -> str:
    if settings.smarthost.kind == "maildir":
        return f"Maildirs under {settings.smarthost.maildir}; nothing leaves this machine"
    return f"{settings.smarthost.host}:{settings.smarthost.port}"


@click.command("demo", epilog="Example: mailrouter demo")
@config_option
@click.option("--wait", "wait_seconds", default=0, help="Wait this many seconds for the door to listen.")
def demo_command(config_file: Path | None, wait_seconds: int) -> None:
    """Send sample mails to the running SMTP door.

    A dozen varied Swedish ones; those that are registered already are left out.
    """
    settings, opened = open_store(config_file)
    until = time.monotonic() + wait_seconds
    while True:
        try:
            fed = demo.feed(settings, opened)
        except demo.DoorClosedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            break
    click.echo(
        f"  {fed} sample mails sent; the desk is ready." if fed else "  The sample mails are registered already."
    )


@click.command(epilog="Example: mailrouter check --config /etc/mailrouter/mailrouter.toml --connect")
@config_option
@click.option("--connect", is_flag=True, help="Also try the database, IMAP accounts and the smarthost.")
def check(config_file: Path | None, connect: bool) -> None:
    """Say in sentences what is wrong with the configuration.

    Looks at the settings, the organisation, the rules with their examples, and the model; exit 1 if anything is wrong.
    """
    settings = configuration.load(config_file)
    problems = checks.problems(settings, connect=connect)
    for sentence in problems:
        click.echo(sentence, err=True)
    if problems:
        raise SystemExit(1)
    for sentence in checks.notes(settings):
        click.echo(sentence)
    click.echo("Everything is in order.")


@click.command(epilog="Example: mailrouter health")
@config_option
@json_option
def health(config_file: Path | None, as_json: bool) -> None:
    """Tell whether every part of the service is alive.

    Exit 1 when the database does not answer or a role has been silent for a minute.
    """
    logging.disable(logging.WARNING)
    _, opened = open_store(config_file)
    now = datetime.now(UTC)
    with opened.read() as session:
        beats = [beat.model_dump() for beat in session.exec(select(Heartbeat))]
    rows = [beat | {"alive": now - beat["at"] < ALIVE} for beat in beats if now - beat["at"] < timedelta(days=1)]
    if as_json:
        echo_json(rows)
    else:
        for row in rows:
            state = "alive" if row["alive"] else "silent"
            click.echo(f"{row['role']} on {row['node']}: {state} ({row['at']:%H:%M:%S} UTC)")
    alive = {row["role"] for row in rows if row["alive"]}
    if not alive or any(row["role"] not in alive for row in rows):
        raise SystemExit(1)


COMMANDS: dict[str, click.Command] = {"run": run, "demo": demo_command, "check": check, "health": health}
