"""Old mail judged before going live: every kind of source, true answers, and a report that gives nobody away."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from mailrouter import organisation
from mailrouter.config import DEFAULTS, ImapAccount, Settings
from mailrouter.organisation import Organisation
from mailrouter.replay import ReplayError, Tally, opened, truth
from mailrouter.replay.judging import Judged, killed
from mailrouter.replay.run import chunks, spread
from mailrouter.replay.sources import Piece
from mailrouter.replay.tally import Hits
from mailrouter.replay.truth import Answer
from tests.mails import octets
from tests.servers.dovecot import PASSWORD, Dovecot
from tests.waiting import until

ON = date(2026, 11, 22)
LAMP = ("Trasig lyktstolpe", "Lampan i lyktstolpen på Mariagatan är trasig.\n\nFrom här är det mörkt.")
JUDGED = Judged(
    "nr 1", 1, 1, "1@post.example", nature="human", language="sv", areas=("gatubelysning", "snorojning", "bygglov"),
    units=("stadsmiljoforvaltningen", "kretslopp-och-vatten", None), probability=0.95, sure=True, kind="felanmalan",
    district="centrum", flags=("bradskande",),
)  # fmt: skip


@pytest.fixture(scope="module")
def city() -> Organisation:
    """The organisation that is shipped."""
    return organisation.load(DEFAULTS / "rules" / "organisation.yaml")


def mbox(file: Path, mails: Sequence[bytes]) -> Path:
    line = b"From anna@post.example Mon Mar  2 09:00:00 2026\n"
    file.write_bytes(b"".join(line + mail.replace(b"\r\n", b"\n") + b"\n" for mail in mails))
    return file


def read(where: Path | str, settings: Settings | None = None) -> list[tuple[str, bytes]]:
    with opened(str(where), settings or Settings()) as source:
        pieces = list(source.pieces())
        assert sum(piece.steps for piece in pieces) == source.total
        return [(piece.place, piece.read()) for piece in pieces]


def test_an_mbox_is_taken_apart(tmp_path: Path) -> None:
    """Each mail is found whole; a line of text that begins with From parts nothing."""
    mails = [octets(*LAMP, key="1"), octets("Två", "Hej", key="2")]
    found = read(mbox(tmp_path / "old.mbox", mails))
    assert [place for place, _ in found] == ["nr 1", "nr 2"]
    assert [content.strip() for _, content in found] == [mail.replace(b"\r\n", b"\n").strip() for mail in mails]


def test_an_mbox_with_bare_separators_in_a_text(tmp_path: Path) -> None:
    """A line that looks like a separator counts only after an empty line."""
    line = b"From anna@post.example Mon Mar  2 09:00:00 2026\n"
    (tmp_path / "a.mbox").write_bytes(line + b"Subject: a\n\nhej\n" + line + b"slut\n\n" + line + b"Subject: b\n\nb\n")
    assert [content.partition(b"\n")[0] for _, content in read(tmp_path / "a.mbox")] == [b"Subject: a", b"Subject: b"]


def test_a_maildir_and_a_folder_are_read(tmp_path: Path) -> None:
    """A Maildir by cur and new, a folder by its .eml files however deep, one .eml by itself."""
    for name in ("cur", "new", "tmp"):
        (tmp_path / "Maildir" / name).mkdir(parents=True)
        (tmp_path / "Maildir" / name / f"1.{name}:2,S").write_bytes(name.encode())
    assert read(tmp_path / "Maildir") == [("1.cur", b"cur"), ("1.new", b"new")]
    (tmp_path / "old" / "2025").mkdir(parents=True)
    (tmp_path / "old" / "2025" / "b.EML").write_bytes(b"b")
    (tmp_path / "old" / "a.eml").write_bytes(b"a")
    (tmp_path / "old" / "notes.txt").write_bytes(b"x")
    assert read(tmp_path / "old") == [("2025/b.EML", b"b"), ("a.eml", b"a")]
    assert read(tmp_path / "old" / "a.eml") == [("a.eml", b"a")]


def test_an_imap_folder_is_read_without_a_trace(imap_server: Dovecot) -> None:
    """Every mail comes as it is, in order, and none is marked, moved or taken away."""
    sent = [octets(*LAMP, key=str(number)) for number in range(60)]
    imap_server.deliver("replayed", sent, "Arkiv")
    account = ImapAccount(
        name="old", host="127.0.0.1", port=imap_server.imap, tls="none", user="replayed", password=PASSWORD,
        move_to="Registrerat",
    )  # fmt: skip
    found = read("imap:old/Arkiv", Settings(imap=[account]))
    assert [content for _, content in found] == sent
    assert [found[0][0], found[-1][0]] == ["UID 1", "UID 60"]
    with imap_server.client("replayed", "Arkiv", readonly=True) as client:
        flags = client.get_flags(client.search())
        assert len(flags) == 60
        assert {flag for given in flags.values() for flag in given} <= {b"\\Recent"}
        assert not client.folder_exists("Registrerat")


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A source that is not there, or holds nothing, is a sentence."""
    for where, sentence in [
        (str(tmp_path / "gone"), "there is no file or folder"),
        (str(tmp_path), "holds no .eml files"),
        ("imap:nobody/INBOX", "no IMAP account"),
    ]:
        with pytest.raises(ReplayError, match=sentence):
            read(where)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252"])
def test_true_answers_by_any_name(tmp_path: Path, city: Organisation, encoding: str) -> None:
    """Units by id, name or an old name; areas likewise; as Swedish Excel writes it."""
    park = city.areas["gatubelysning"]
    known = city.units[str(park.unit)]
    old = next(unit for unit in city.units.values() if unit.aliases)
    file = tmp_path / "facit.csv"
    lines = ["Message_ID;Number;Unit;Area", f"<1@post.example>;;{known.name.upper()};", f";7;{old.aliases[0]};",
             f"3@post.example;;;{park.name}"]  # fmt: skip
    file.write_bytes("\r\n".join(lines).encode(encoding))
    answers = truth.read(file, city, ON)
    assert answers.of("1@post.example", "nr 5", 5) == Answer(known.id, None)
    assert answers.of("", "nr 7", 7) == Answer(city.successor(old.id, ON), None)
    assert answers.of("3@post.example", "nr 6", 6) == Answer(known.id, park.id)
    assert answers.of("4@post.example", "nr 4", 4) is None


def test_true_answers_by_file_name(tmp_path: Path, city: Organisation) -> None:
    """A file is met with or without its folder; a place-split area says nothing of the unit."""
    (tmp_path / "facit.csv").write_text("filename,area\na.eml,forsorjningsstod\n2025/b.eml,bygglov\n", encoding="utf-8")
    answers = truth.read(tmp_path / "facit.csv", city, ON)
    assert city.areas["forsorjningsstod"].place_split
    assert answers.of("", "old/a.eml", 1) == Answer(None, "forsorjningsstod")
    assert answers.of("", "2025/b.eml", 2) == Answer(city.areas["bygglov"].unit, "bygglov")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("number,unit\n1,Glassförvaltningen\n", 'line 2: there is no unit "Glassförvaltningen"'),
        ("number,area\n1,glass\n", 'line 2: there is no area "glass"'),
        ("number,unit\n,stadsmiljoforvaltningen\n", "line 2: neither message_id"),
        ("nummer,enhet\n1,x\n", "the first line must name"),
        ("number,unit\n", "has no answers"),
    ],
)
def test_faulty_answers_are_named(tmp_path: Path, city: Organisation, content: str, sentence: str) -> None:
    """A fault in the list of answers is told with its line before anything is judged."""
    (tmp_path / "facit.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ReplayError, match=sentence):
        truth.read(tmp_path / "facit.csv", city, ON)


def test_the_sums(city: Organisation) -> None:
    """Robots and unreadable mails are counted apart; agreement, promise and confusions by the true answers."""
    tally = Tally(city, 0.98, "regler x", with_truth=True)
    right = Answer("stadsmiljoforvaltningen", "gatubelysning")
    tally.add(JUDGED, right)
    tally.add(replace(JUDGED, probability=0.55, sure=False), Answer("kretslopp-och-vatten", "snorojning"))
    tally.add(replace(JUDGED, place="nr 3"), Answer("grundskoleforvaltningen", None))
    tally.add(replace(JUDGED, units=(None, "kretslopp-och-vatten", None), sure=False), right)
    tally.add(replace(JUDGED, nature="auto-reply"), right)
    tally.add(Judged("nr 6", 6, 1, fault="mejlet är tomt"), right)
    assert (tally.total, tally.humans, tally.robots, tally.faults, tally.sure) == (6, 4, 1, 1, 2)
    assert (tally.unit_first.right, tally.unit_first.of) == (1, 4)
    assert (tally.unit_three.right, tally.unit_sure.right, tally.unit_sure.of) == (2, 1, 2)
    assert (tally.area_first.right, tally.area_first.of, tally.area_three.right) == (2, 3, 3)
    assert tally.sure_but_wrong == [("nr 3 <1@post.example>", "grundskoleforvaltningen", "stadsmiljoforvaltningen")]
    assert ("stadsmiljoforvaltningen", "", 1, ["nr 1 <1@post.example>"]) in tally.unit_confusions.worst(9)
    assert tally.units == {"stadsmiljoforvaltningen": 3, "": 1}
    assert tally.unreadable == [("nr 6", "mejlet är tomt")]


def test_how_far_the_promise_reaches(city: Organisation) -> None:
    """The curve goes from the surest mail on; the promise is kept as long as few enough are wrong."""
    tally = Tally(city, 0.75, "regler x", with_truth=True)
    for likely, unit in [(0.9, "stadsmiljoforvaltningen"), (0.8, "x"), (0.7, "stadsmiljoforvaltningen"),
                         (0.6, "stadsmiljoforvaltningen"), (0.5, "x")]:  # fmt: skip
        tally.add(replace(JUDGED, unit_probability=likely), Answer(unit, None))
    assert tally.curve() == [(0.2, 1.0), (0.4, 0.5), (0.6, 2 / 3), (0.8, 0.75), (1.0, 0.6)]
    assert tally.best_coverage() == 0.8


def test_few_mails_say_little() -> None:
    """The interval of a share is wide for few mails and narrow for many (figures of Wilson's formula)."""
    assert Hits(9, 10).interval == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert Hits(9000, 10000).interval == pytest.approx((0.8940, 0.9057), abs=1e-4)


def test_chunks_are_bounded_and_end_when_asked() -> None:
    """No more is read than is judged at once; after the wish to end nothing more is read."""
    read_so_far: list[int] = []

    def pieces(count: int) -> list[Piece]:
        return [Piece(f"nr {number}", number, 1, octets=b"x" * 3_000_000) for number in range(count)]

    assert [len(chunk) for chunk in chunks(pieces(7), lambda: False)] == [3, 3, 1]
    for chunk in chunks(pieces(9), lambda: len(read_so_far) >= 3):
        read_so_far.extend(piece.number for piece in chunk)
    assert read_so_far == [0, 1, 2]


def ends_at_seven(pieces: Sequence[Piece]) -> list[Judged]:
    """A reader that the seventh mail kills."""
    if any(piece.number == 7 for piece in pieces):
        os._exit(1)
    return [replace(JUDGED, number=piece.number) for piece in pieces]


def test_a_mail_that_kills_its_reader_takes_no_other_along() -> None:
    """When a process dies, the mail that killed it is named and every other one is judged, once."""
    pieces = [[Piece(f"nr {10 * chunk + n}", 10 * chunk + n, 1) for n in range(10)] for chunk in range(6)]
    found = [one for judged in spread(iter(pieces), ends_at_seven, ProcessPoolExecutor, 2) for one in judged]
    assert sorted(one.number for one in found) == list(range(60))
    assert [one for one in found if one.fault] == [killed(pieces[0][7])]


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "mailrouter", "replay", *arguments, "-o", str(folder / "page.html")]


def test_the_report_tells_all_and_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page has the figures and no address or word of a mail; nothing but the report is written."""
    robot = octets("Autosvar", "Jag är ledig.", key="3").replace(
        b"Subject:", b"Auto-Submitted: auto-replied\r\nSubject:"
    )
    source = mbox(
        tmp_path / "old.mbox", [octets(*LAMP, key="1"), octets("Zymurgi", "Xyzzy Zymurgi", key="2"), robot, b""]
    )
    (tmp_path / "facit.csv").write_text(
        "message_id,unit\n1@post.example,stadsmiljoforvaltningen\n2@post.example,bostadsbolaget\n"
    )
    arguments = ("--truth", str(tmp_path / "facit.csv"), "--processes", "1")
    done = subprocess.run(
        command(tmp_path, str(source), *arguments), cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "4 mails: 2 by people, 1 by programs, 1 unreadable" in done.stdout
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    figures = json.loads((tmp_path / "page.json").read_text(encoding="utf-8"))
    assert figures["truth"]["unit_top_1"] == {"right": 1, "of": 2, "share": 0.5}
    assert figures["unreadable"]["first"] == [{"mail": "nr 4", "why": "mejlet är tomt"}]
    assert "Så hade 4 mejl fördelats" in page
    assert "nr 2 &lt;2@post.example&gt;" in page
    for secret in (
        "anna@",
        "goteborg@",
        "Anna Berg",
        "Mariagatan",
        "Zymurgi",
        "Xyzzy",
        "http://",
        "https://",
        "<script",
    ):
        assert secret not in page, secret
    assert sorted(file.name for file in tmp_path.iterdir()) == ["facit.csv", "old.mbox", "page.html", "page.json"]


def test_ctrl_c_ends_with_what_was_done(tmp_path: Path) -> None:
    """Ctrl-C in the middle: the report is of the mails until then, and says so."""
    source = mbox(tmp_path / "old.mbox", [octets(*LAMP, key=str(number)) for number in range(3000)])
    with subprocess.Popen(
        command(tmp_path, str(source), "--processes", "1"), cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True
    ) as running:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        until(lambda: bool(children.read_text()))
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(60) == 130
    figures = json.loads((tmp_path / "page.json").read_text(encoding="utf-8"))
    assert figures["mails"] < 3000
    assert figures["broken_off"]
    assert "Körningen nådde inte slutet" in (tmp_path / "page.html").read_text(encoding="utf-8")
