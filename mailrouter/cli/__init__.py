"""The command line. Every command has an example in its help; every error is one sentence and a non-zero exit."""

import os
import sys
from typing import NoReturn

import click
from sqlalchemy.exc import OperationalError, ProgrammingError

from mailrouter.cli import decisions, judging, proof, service, users


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command explains itself: mailrouter COMMAND --help",
)
@click.version_option(package_name="mailrouter")
def commands() -> None:
    """mailrouter: the e-mail gateway of a city's contact centre."""


for group in (service.COMMANDS, judging.COMMANDS, decisions.COMMANDS, proof.COMMANDS, users.COMMANDS):
    for command in group:
        commands.add_command(command)


def main() -> NoReturn:
    """Run a command; what can be expected to go wrong ends as a sentence on stderr."""
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
    except OperationalError as error:
        _fail(f"the database does not answer: {str(error.orig).strip().partition(chr(10))[0]}")
    except ProgrammingError:
        _fail("the database has no mailrouter schema yet; `mailrouter run` creates it")
    except Exception as error:
        if os.environ.get("MAILROUTER_TRACEBACK"):
            raise
        if isinstance(error, OSError) or type(error).__module__.startswith("mailrouter."):
            _fail(str(error))  # the message of an error of ours is the sentence a person reads
        _fail(f"this should not happen: {type(error).__name__}: {error} (MAILROUTER_TRACEBACK=1 shows where)")
    sys.exit(0)


def _fail(sentence: str, status: int = 1) -> NoReturn:
    click.echo(f"mailrouter: {sentence}", err=True)
    sys.exit(status)
