"""A letter at the desk: read as text, its HTML harmless, its files only ever saved."""

import logging
from datetime import timedelta
from urllib.parse import unquote

import pytest

from mailrouter import config, store
from mailrouter.config import Settings
from mailrouter.desk.letterview import clean_html, disposition, safe_filename, shown, words_behind
from mailrouter.desk.safety import POLICY
from mailrouter.letter import Attachment
from mailrouter.store import Store
from mailrouter.tables import Heartbeat
from tests.clock import NOW
from tests.desk import Person, hire, letter, open_desk, receive

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def eva(db: Store) -> Person:
    """Somebody who sorts, logged in."""
    hire(db, "eva")
    return Person(open_desk(db)).enter(db)


def test_the_letter_is_read_as_it_was_written(db: Store, eva: Person) -> None:
    """The citizen's own words stand first; signature and quotes are folded away, nothing is left out."""
    body = (
        "Hej!\n\nLampan är  trasig.\n\n-- \nAnna Berg\n0700-000000\n\n"
        "Den 1 mars 2026 kl. 10:00 skrev Staden <stad@stad.example>:\n> Vi tittar på det.\n"
    )
    (number,) = receive(db, letter("Trasig lampa", body))
    page = eva.look(number).text
    assert "Hej!\n\nLampan är  trasig." in page
    words, _, folded = page.partition("<summary>Signatur</summary>")
    assert "0700-000000" in folded
    assert "Vi tittar på det." not in words


def test_what_a_citizen_writes_is_never_markup(db: Store, eva: Person) -> None:
    """Subject, sender, text, file names and everything else of a mail stand on the pages as text."""
    evil = letter(
        f"Lampa {SCRIPT}",
        f"Hej {SCRIPT}\n",
        sender=f'"{SCRIPT}" <anna@post.example>',
        html=f"<p>Hej</p>{SCRIPT}<img src=x onerror=alert(1)>",
        attachments=[(f'{SCRIPT}".html', "text/html", SCRIPT.encode())],
    )
    (number,) = receive(db, evil)
    pages = [eva.look(number), eva.look(number, visning="html"), eva.client.get("/")]
    pages += [eva.client.get("/", params={"sok": SCRIPT}), eva.client.get(f"/arende/{number}/mejl/1/html")]
    for page in pages:
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
    assert "&lt;script&gt;alert(1)" in pages[0].text


@pytest.mark.parametrize(
    ("html", "clean"),
    [
        ("<p onclick=x>Hej <b>du</b></p>", "<p>Hej <b>du</b></p>"),
        ("a<script>b</script><style>c{}</style>d", "ad"),
        ('<img src="https://spy.example/x.gif" alt="x">text', "text"),
        ('<p style="background:url(https://spy.example)">x</p>', "<p>x</p>"),
        ('<a href="https://a.example/?q=1&amp;b=2">här</a>', "här <small>[https://a.example/?q=1&amp;b=2]</small>"),
        ('<a href="https://a.example/">https://a.example</a>', "https://a.example"),
        ('<a href="javascript:alert(1)">x</a>', "x"),
        ('<a href="mailto:a@b.example">skriv</a>', "skriv <small>[a@b.example]</small>"),
        ('<iframe src="https://spy.example"></iframe><form action=x><input name=y>z</form>', "z"),
        ('<svg><a xlink:href="javascript:alert(1)">x</a></svg>', ""),
        ('<link rel=stylesheet href="https://spy.example"><base href="https://spy.example">x', "x"),
        ('<video poster="https://spy.example/x"><source src="https://spy.example/y"></video>x', "x"),
        ('<a href="https://a.example/"><a href="https://b.example/">x</a></a>', None),
        ("<table background='https://spy.example'><tr><td colspan=2>1</td></tr></table>", None),
    ],
)
def test_html_is_cleaned(html: str, clean: str | None) -> None:
    """Nothing is left that acts, fetches or can be followed; where a link led is written out."""
    made = clean_html(html)
    if clean is not None:
        assert made == clean
    for forbidden in ("<a", "<img", "href", "src", "style", "onclick", "background", "javascript", "spy.example"):
        assert forbidden not in made


def test_html_is_shown_in_a_closed_frame(db: Store, eva: Person) -> None:
    """Only on request, in a sandbox whose own policy forbids scripts, pictures and everything from the net."""
    (number,) = receive(db, letter("Trasig lampa", html="<p>Hej <b>du</b></p>"))
    assert "<iframe" not in eva.look(number).text
    assert '<iframe class="formatted" sandbox ' in eva.look(number, visning="html").text
    frame = eva.client.get(f"/arende/{number}/mejl/1/html")
    policy = frame.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "; sandbox; frame-ancestors 'self'" in policy
    assert "<p>Hej <b>du</b></p>" in frame.text


def test_files_are_saved_and_never_shown(db: Store, eva: Person) -> None:
    """The original is byte-exact; an attachment comes as a plain file whatever it says it is."""
    page_of_evil = b"<script>alert(1)</script>"
    mail = letter("Trasig lampa", attachments=[("Räkning åäö.html", "text/html", page_of_evil)])
    (number,) = receive(db, mail)
    original = eva.client.get(f"/arende/{number}/mejl/1/original")
    assert original.content == mail
    assert f'filename="{number}-1.eml"' in original.headers["content-disposition"]
    attachment = eva.client.get(f"/arende/{number}/mejl/1/bilaga/0")
    assert attachment.content.strip() == page_of_evil
    for answer in (original, attachment):
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
    assert unquote(attachment.headers["content-disposition"].partition("filename*=UTF-8''")[2]) == "Räkning åäö.html"


def test_the_same_mail_again_has_the_first_ones_octets(db: Store, eva: Person) -> None:
    """A copy keeps no octets of its own; its original is the mail it repeats."""
    mail = letter("Trasig lampa")
    number, again = receive(db, mail, mail)
    assert number == again
    assert eva.client.get(f"/arende/{number}/mejl/2/original").content == mail
    assert "samma mejl en gång till" in eva.look(number).text


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a\r\nSet-Cookie: x.pdf", "a Set-Cookie_ x.pdf"),
        ("faktura\u202efdp.exe", "faktura fdp.exe"),
        ("", "bilaga-3"),
        (" . ", "bilaga-3"),
        ('x"y<z>.txt', "x_y_z_.txt"),
        ("å" * 300 + ".pdf", "å" * 139 + ".pdf"),
    ],
)
def test_file_names_are_harmless(given: str, safe: str) -> None:
    """No name leads out of a folder, hides its ending or breaks a header."""
    name = safe_filename(Attachment(given, "x/y", b""), 2)
    assert name == safe
    assert disposition(name).isascii()


def test_every_page_has_a_strict_policy(db: Store, eva: Person) -> None:
    """No page allows inline code or style, foreign content, or being framed; nothing of it is kept by a cache."""
    (number,) = receive(db, letter("Trasig lampa"))
    for path in ("/", f"/arende/{number}", "/hjalp", "/nowhere", "/health", "/logga-in"):
        headers = eva.client.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        text = eva.client.get(path).text
        for inline in (" style=", " onclick=", " onload=", "javascript:", "<style", "<script>"):
            assert inline not in text
    assert "unsafe" not in POLICY


def test_logs_hold_no_personal_data(db: Store, eva: Person, caplog: pytest.LogCaptureFixture) -> None:
    """Refused pages and logins leave traces that name neither people nor what they wrote."""
    caplog.set_level(logging.DEBUG, logger="mailrouter")
    eva.client.get("/arende/26-AAAA-A", params={"sok": "hemlig-sjukdom"})
    eva.log_in("hemligt-fel")
    assert "page-refused status=404 route=/arende/{number}" in caplog.text
    assert "login-refused" in caplog.text
    for secret in ("eva", "hemlig", "26-AAAA-A"):
        assert secret not in caplog.text


def test_a_breakdown_shows_nothing_of_our_inside(db: Store, eva: Person, caplog: pytest.LogCaptureFixture) -> None:
    """A page that breaks says so in plain words; the log tells where, and holds no data."""
    broken = open_desk(db)

    @broken.get("/trasig")
    def _broken() -> None:
        raise RuntimeError("anna@post.example")

    answer = Person(broken).client.get("/trasig")
    assert answer.status_code == 500
    assert "Något gick fel hos oss" in answer.text
    assert "Inget mejl har gått förlorat" in answer.text
    assert "anna@" not in answer.text + caplog.text
    assert "page-broken route=/trasig error=RuntimeError at=test_desk_letter.py:" in caplog.text


def test_health(db: Store) -> None:
    """Well while every role that ever reported still does; silent after a minute; and nothing about people."""
    client = Person(open_desk(db)).client
    assert client.get("/health").json() == {"status": "up", "database": "up", "roles": {}, "restricted_unseen": {}}
    with db.write() as session:
        session.add(Heartbeat(node="a", role="work", at=NOW - timedelta(days=3), detail={"x": "anna@post.example"}))
        session.add(Heartbeat(node="b", role="work", at=NOW - timedelta(seconds=59)))
    assert client.get("/health").status_code == 200
    with db.write() as session:
        session.add(Heartbeat(node="b", role="doors", at=NOW - timedelta(seconds=61)))
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "degraded",
        "database": "up",
        "roles": {"doors": {"status": "silent", "seconds": 61}, "work": {"status": "up", "seconds": 59}},
        "restricted_unseen": {},
    }


def test_without_a_database_there_is_a_plain_page() -> None:
    """The desk stays up and says what is wrong while the database is away."""
    nowhere = store.connect(config.Store(url="postgresql+psycopg://nobody@127.0.0.1:1/nothing"))
    person = Person(open_desk(nowhere, settings=Settings()))
    assert person.client.get("/health").status_code == 503
    person.client.cookies.set("mailrouter", "x", domain="desk.example")
    page = person.client.get("/")
    assert page.status_code == 503
    assert "Databasen svarar inte just nu" in page.text


def test_what_was_odd_is_said_in_words(db: Store, eva: Person) -> None:
    """A mail that had to be interpreted says how, so that nobody wonders about a strange letter."""
    (number,) = receive(db, b"From: Anna <anna@post.example>\r\nSubject: Gata\r\n\r\nH\xe5l i v\xe4gen\r\n")
    page = eva.look(number)
    assert "Hål i vägen" in page.text
    assert "Så här har mejlet tolkats" in page.text
    assert "Mejlet saknar eget id." in page.text


def test_hidden_numbers_and_marked_words() -> None:
    """Words of the reasons are marked, a few places each; numbers are hidden until shown; all else is only text."""
    words = words_behind(
        {"reasons": [{"kind": "place", "text": "Platsen.", "words": ["Mariagatan"]}, {"kind": "rule", "text": "Utan."}]}
    )
    text = "<b>19121212-1212</b> Mariagatan, mariagatan, Mariagatans 4111 1111 1111 1111"
    safe = shown(text, words, numbers=False, kinds={"personnummer": "personnummer, dolt"})
    assert "1912" not in safe
    assert "4111" not in safe
    assert safe.count('<mark title="Platsen.">') == 2
    assert "&lt;b&gt;" in safe
    assert '<span class="unseen">personnummer, dolt</span>' in safe
    assert "19121212-1212" in shown(text, words, numbers=True, kinds={})
    assert "1912" not in clean_html("<p>19121212-1212</p>")


def test_asking_for_hidden_numbers_is_written_down(db: Store) -> None:
    """Subject and text hide them, in the queue too; whoever asks sees them, and the history says who."""
    (number,) = receive(db, letter("Om 19121212-1212", "Mitt nummer är 19121212-1212."))
    hire(db, "eva")
    eva = Person(open_desk(db)).enter(db)
    page = eva.look(number)
    assert "1212-1212" not in page.text + eva.client.get("/").text
    asked = eva.send(page, "/visa-nummer")
    assert "Mitt nummer är 19121212-1212." in asked.text
    assert "Dolda nummer visades" in eva.look(number).text
    assert "1212-1212" not in eva.look(number).text


def test_a_mail_is_shown_as_it_came(db: Store) -> None:
    """As plain text that no browser makes anything of, whatever is in it."""
    (number,) = receive(db, letter("Lampa", html="<script>alert(1)</script>"))
    hire(db, "eva")
    eva = Person(open_desk(db)).enter(db)
    raw = eva.client.get(f"/arende/{number}/mejl/1/ratt")
    assert raw.headers["content-type"].startswith("text/plain")
    assert "sandbox" in raw.headers["content-security-policy"]
    assert "<script>alert(1)</script>" in raw.text
