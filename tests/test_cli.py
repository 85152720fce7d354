"""The commands that people and other programs build on: names, JSON keys, sentences instead of tracebacks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from mailrouter.cli import commands
from mailrouter.store import Store
from tests.mails import octets
from tests.register import take_and_read
from tests.service import Service

KEYS = [
    "id",
    "area",
    "unit",
    "probability",
    "abstain",
    "candidates",
    "kind",
    "district",
    "flags",
    "language",
    "reasons",
]


def _run(*arguments: str, stdin: str = "", cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """A command in a process of its own."""
    command = [sys.executable, "-m", "mailrouter", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)


def _all_commands(group: click.Group, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command below ``group``."""
    context = click.Context(group)
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        words = (*prefix, name)
        found += _all_commands(command, words) if isinstance(command, click.Group) else [words]
    return found


def _command(words: tuple[str, ...]) -> click.Command:
    command: click.Command | None = commands
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    return command


@pytest.mark.parametrize("words", _all_commands(commands), ids=" ".join)
def test_every_command_explains_itself_with_an_example(words: tuple[str, ...]) -> None:
    """Help says what it is for, shows an example that begins with the command, and explains every option."""
    command = _command(words)
    assert command.help
    assert f"mailrouter {' '.join(words)}" in (command.epilog or "")
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_suggest_reads_mails_and_json_lines(tmp_path: Path) -> None:
    """Both ways give the agreed keys, at least three candidates, and need neither configuration nor register."""
    mail = tmp_path / "lampa.eml"
    mail.write_bytes(octets(body="Gatubelysningen på Mariagatan i Majorna är trasig."))
    lines = [
        {"id": "a", "subject": "Potthål", "body": "Stort hål i gatan på Hisingen.", "from": "anna@post.example"},
        {"id": "b", "subject": "", "body": "Jag vill överklaga beslutet om försörjningsstöd."},
    ]
    rows = tmp_path / "mails.jsonl"
    rows.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    by_mail = _run("suggest", str(mail), cwd=tmp_path)
    by_line = _run("suggest", "--jsonl", str(rows), cwd=tmp_path)
    found: list[dict[str, Any]] = [json.loads(line) for line in (by_mail.stdout + by_line.stdout).splitlines()]
    assert by_mail.stderr + by_line.stderr == ""
    assert [row["id"] for row in found] == [str(mail), "a", "b"]
    for row in found:
        assert [key for key in row if key in KEYS] == KEYS
        assert len(row["candidates"]) >= 3
        assert set(row["candidates"][0]) == {"area", "unit", "probability"}
        assert 0 <= row["probability"] <= 1
    assert found[0]["unit"] == "stadsmiljoforvaltningen"
    assert (found[2]["area"], found[2]["unit"]) == ("forsorjningsstod", None)
    assert set(tmp_path.iterdir()) == {mail, rows}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("case", "list"), "there is no register"),
        (("case", "list", "--config", "nowhere.toml"), "cannot read the configuration nowhere.toml"),
        (("suggest", "--jsonl", "bad.jsonl"), "bad.jsonl: line 2"),
        (("suggest",), "give either .eml files or --jsonl FILE"),
        (("run", "--only", "kitchen"), "choose among doors, work, desk"),
        (("demo",), "there is no register"),
    ],
)
def test_what_goes_wrong_is_a_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    """On stderr, with a non-zero exit, and never a traceback."""
    (tmp_path / "bad.jsonl").write_text('{"id": "1", "subject": "", "body": ""}\nnot json\n')
    done = _run(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_case_from_the_list_to_its_end(db: Store, store_url: str, tmp_path: Path) -> None:
    """list, show, confirm, a stale confirm, return, close: each prints JSON that the next can use."""
    service = Service(tmp_path / "service", store_url)
    original = octets()
    take_and_read(db, original)
    (row,) = service.json("case", "list")
    number = row["number"]
    assert {"state", "sender", "subject", "area", "unit", "probability", "answer_due", "arrived_on"} <= set(row)
    shown = service.json("case", "show", number.lower())
    assert [event["kind"] for event in shown["events"]] == ["received", "suggested"]
    assert service.run("case", "raw", number).stdout.encode().replace(b"\r", b"") == original.replace(b"\r", b"")
    confirmed = service.json("case", "confirm", number, "--as", "eva", "--seen", str(shown["last_event"]))
    assert (confirmed["state"], confirmed["assignments"][0]["unit"]) == ("routed", "stadsmiljoforvaltningen")
    late = service.run("case", "confirm", number, "--as", "ali", "--seen", str(shown["last_event"]), check=False)
    assert late.returncode == 1
    assert "eva was faster" in late.stderr
    assert service.json("outbox")[0]["state"] == "queued"
    closed = service.json("case", "close", number, "--reason", "besvarat-direkt", "--note", "ringde")
    assert closed["state"] == "closed"
    assert service.json("outbox")[0]["state"] == "cancelled"
    assert service.json("reconcile")["balanced"]
    assert service.json("verify", "--seal")["holds"]


def test_reconcile_tells_of_a_lost_mail(db: Store, store_url: str, tmp_path: Path) -> None:
    """A mail that was acknowledged and is not in the register breaks the sum, and the exit status says so."""
    service = Service(tmp_path / "service", store_url)
    take_and_read(db, octets())
    with db.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM rawmail")
    done = service.run("reconcile", "--json", check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["balanced"] is False
    verified = service.run("verify", check=False)
    assert verified.returncode == 1
    assert "its octets are gone" in verified.stderr


def test_the_duplicate_stands_in_the_sum(db: Store, store_url: str, tmp_path: Path) -> None:
    """The same mail twice is one case and one duplicate; the sum holds."""
    service = Service(tmp_path / "service", store_url)
    take_and_read(db, octets(), octets())
    result = service.json("reconcile")
    assert {key: result[key] for key in ("received", "cases", "joined", "duplicates", "quarantined")} == {
        "received": 2, "cases": 1, "joined": 0, "duplicates": 1, "quarantined": 0,
    }  # fmt: skip


def test_letter_tells_what_is_understood(tmp_path: Path) -> None:
    """One mail as JSON with the agreed keys; many paths on standard input, one result a line."""
    mail = tmp_path / "lampa.eml"
    mail.write_bytes(octets(body="Lampan är trasig.\n\n-- \nAnna"))
    understood = json.loads(_run("letter", str(mail), "--json").stdout)
    assert set(understood) >= {
        "from_name", "from_email", "reply_to", "to", "subject", "date", "text", "reply_text", "quoted", "signature",
        "attachments", "nature", "report", "form", "language", "defects",
    }  # fmt: skip
    assert (understood["from_email"], understood["nature"]) == ("anna@post.example", "human")
    assert understood["reply_text"] == "Lampan är trasig."
    many = _run("letter", "--jsonl", stdin=f"{mail}\n{mail}\n")
    assert [json.loads(line)["subject"] for line in many.stdout.splitlines()] == ["Trasig lampa"] * 2
    mail.with_suffix(".json").write_text(json.dumps({"subject": "Trasig lampa", "text": "Bron"}))
    scored = json.loads(_run("letter", "--score", str(tmp_path), "--json").stdout)
    assert [(row["field"], row["right"]) for row in scored["fields"]] == [("subject", 1), ("text", 0)]
    assert scored["missed"] == [{"file": "lampa", "field": "text", "said": "'Lampan är trasig.'"}]
