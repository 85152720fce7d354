"""The command line. Every command has an example in its help; every error is one sentence and a non-zero exit."""

import os
import sys
from importlib import import_module
from typing import NoReturn

import click

# Each command and the room it is in: only the room of the command that runs is loaded.
ROOMS = {
    "run": "service",
    "demo": "service",
    "check": "service",
    "health": "service",
    "suggest": "judging",
    "letter": "letters",
    "train": "judging",
    "model": "judging",
    "replay": "old_mail",
    "units": "judging",
    "case": "decisions",
    "outbox": "decisions",
    "deadlines": "clock",
    "reconcile": "proof",
    "verify": "proof",
    "user": "users",
    "client": "clients",
    "webhook": "webhooks",
}


class Rooms(click.Group):
    """A group that loads a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (the signature is click's)
        """The commands in the order of ROOMS."""
        return list(ROOMS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command from its room; None when there is none of that name."""
        if cmd_name not in ROOMS:
            return None
        commands: dict[str, click.Command] = import_module(f"mailrouter.cli.{ROOMS[cmd_name]}").COMMANDS
        return commands[cmd_name]


@click.group(
    cls=Rooms,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command explains itself: mailrouter COMMAND --help",
)
@click.version_option(package_name="mailrouter")
def commands() -> None:
    """mailrouter: the e-mail gateway of a city's contact centre."""


def main() -> NoReturn:
    """Run a command; what goes wrong ends as a sentence on stderr and a non-zero exit."""
    try:
        commands(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has seen enough
        sys.exit(0)
    except Exception as error:
        if os.environ.get("MAILROUTER_TRACEBACK"):
            raise
        _fail(_sentence(error))
    sys.exit(0)


def _sentence(error: Exception) -> str:
    """What a person can do something with. The message of an error of ours is written to be read."""
    if isinstance(error, OSError) or type(error).__module__.startswith("mailrouter."):
        return str(error)
    if "sqlalchemy" in sys.modules:
        from sqlalchemy.exc import OperationalError, ProgrammingError  # noqa: PLC0415 (only if it is loaded already)

        if isinstance(error, ProgrammingError) or "no such table" in str(error):
            return "the database has no mailrouter schema yet; `mailrouter run` creates it"
        if isinstance(error, OperationalError):
            return f"the database does not answer: {str(error.orig).strip().partition(chr(10))[0]}"
    return f"this should not happen: {type(error).__name__}: {error} (MAILROUTER_TRACEBACK=1 shows where)"


def _fail(sentence: str, status: int = 1) -> NoReturn:
    click.echo(f"mailrouter: {sentence}", err=True)
    sys.exit(status)
