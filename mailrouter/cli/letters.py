"""The command that shows what was understood of a mail: letter."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mailrouter import letter
from mailrouter.classify.language import language_of
from mailrouter.cli.common import echo_json, echo_table, json_option
from mailrouter.letter import Letter, Nature, scores
from mailrouter.letter.values import Report

# The names other programs know; a web form is a person's mail, told apart by its fields.
NATURES = {
    Nature.HUMAN: "human",
    Nature.FORM: "human",
    Nature.AUTO_REPLY: "auto-reply",
    Nature.DELIVERY_REPORT: "bounce",
    Nature.FEEDBACK_REPORT: "feedback",
    Nature.MAILING_LIST: "list",
    Nature.BULK: "bulk",
    Nature.READ_RECEIPT: "receipt",
    Nature.CALENDAR: "calendar",
    Nature.DMARC_REPORT: "report",
    Nature.OWN: "own",
}


@click.command(
    "letter",
    epilog="Examples: mailrouter letter complaint.eml    find mails -name '*.eml' | mailrouter letter --jsonl    "
    "mailrouter letter --score tests/letters",
)
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@json_option
@click.option("--jsonl", is_flag=True, help="Read paths from standard input; print one JSON object a line.")
@click.option(
    "--score",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Compare each NAME.eml in this folder with what NAME.json expects; print the share right for each field.",
)
def letter_command(files: tuple[Path, ...], as_json: bool, jsonl: bool, folder: Path | None) -> None:
    """Show what is understood of mails.

    Sender, text, the citizen's own words, attachments, nature, delivery reports and form fields. Needs neither
    register nor configuration.
    """
    if [bool(files), jsonl, folder is not None].count(True) != 1:
        raise click.UsageError("give .eml files, or --jsonl and paths on standard input, or --score and a folder")
    if folder is not None:
        _print_scores(folder, as_json=as_json)
        return
    if jsonl:
        for understood in _understood(Path(line.rstrip("\n")) for line in sys.stdin if line.strip()):
            click.echo(json.dumps(understood, ensure_ascii=False))
        return
    results = list(_understood(files))
    if as_json:
        echo_json(results[0] if len(results) == 1 else results)
        return
    for understood in results:
        for key, value in understood.items():
            click.echo(f"{key:<14} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
        click.echo()


def _print_scores(folder: Path, *, as_json: bool) -> None:
    try:
        found = scores.score(folder)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{folder}: {error}") from error
    rows = [
        {"field": name, "mails": asked, "right": found.right[name], "share": f"{found.right[name] / asked:.1%}"}
        for name, asked in sorted(found.asked.items())
    ]
    if as_json:
        echo_json({"fields": rows, "missed": [asdict(miss) for miss in found.missed]})
        return
    echo_table(rows, ["field", "mails", "right", "share"])
    for miss in found.missed:
        click.echo(f"{miss.file}: {miss.field}: {miss.said}", err=True)


def _understood(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for file in files:
        octets = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        yield {"file": str(file)} | as_dict(letter.parse(octets))


def as_dict(read: Letter) -> dict[str, Any]:
    """A letter as JSON-ready data, without the octets of its attachments."""
    return {
        "from_name": read.sender.name,
        "from_email": read.sender.address,
        "reply_to": [address.address for address in read.reply_to],
        "to": [address.address for address in read.to],
        "cc": [address.address for address in read.cc],
        "subject": read.subject,
        "date": read.date.isoformat() if read.date else None,
        "message_id": read.message_id,
        "text": read.body,
        "reply_text": read.text,
        "quoted": read.quoted,
        "signature": read.signature,
        "attachments": [
            {"name": attachment.filename, "type": attachment.content_type, "size": len(attachment.octets)}
            for attachment in read.attachments
        ],
        "nature": NATURES[read.nature],
        "report": _report(read.report) if read.report else None,
        "form": dict(read.fields),
        "form_contact": asdict(read.contact) if read.contact else None,
        "forwarded_from": str(read.forwarded_from) if read.forwarded_from else None,
        "language": language_of(f"{read.subject}\n{read.text}"),
        "defects": list(read.defects),
    }


def _report(report: Report) -> dict[str, Any]:
    return {
        "original_message_id": report.original_message_id,
        "recipients": [
            {
                "address": failure.recipient,
                "action": failure.action,
                "status": failure.status,
                "reason": failure.diagnostic,
                "permanent": failure.permanent,
            }
            for failure in report.failures
        ],
    }


COMMANDS: dict[str, click.Command] = {"letter": letter_command}
