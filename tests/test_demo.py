"""The sample mails: fit to be shown, and fed once."""

import re
import subprocess
from collections.abc import Iterator

import pytest
from sqlmodel import select

from mailrouter import demo, letter
from mailrouter.config import ConfigError, Settings, Smtp
from mailrouter.doors.run import Doors
from mailrouter.letter import Nature
from mailrouter.store import Store
from mailrouter.tables import Case, Disposition, Mail, RawMail
from tests.servers.postgres import free_port


@pytest.fixture
def settings() -> Settings:
    """Settings with a free port for the SMTP door."""
    return Settings(smtp=Smtp(listen=f"127.0.0.1:{free_port()}"))


@pytest.fixture
def door(db: Store, settings: Settings) -> Iterator[None]:
    """The door, open."""
    doors = Doors(db, settings)
    doors.start()
    yield
    doors.close()


def test_the_mails_are_varied_and_nobody_s() -> None:
    """A dozen readable mails and more, each another's, no address outside the reserved names."""
    mails = demo.demo_mails()
    letters = [letter.parse(octets) for octets in mails.values()]
    assert len(mails) >= 12
    assert len({one.message_id for one in letters}) == len(mails)
    assert all(one.text and one.subject and one.date for one in letters)
    assert {Nature.HUMAN, Nature.AUTO_REPLY} <= {one.nature for one in letters}
    assert any(one.attachments for one in letters)
    assert any(one.html for one in letters)
    for octets in mails.values():
        domains = re.findall(rb"[\w.+-]@([\w.-]+)", octets)
        assert all(domain.endswith((b".example", b"example.se")) for domain in domains)


def test_a_second_feed_adds_nothing(door: None, db: Store, settings: Settings) -> None:
    """Every sample mail opens a case with its octets untouched; feeding again sends nothing."""
    mails = demo.demo_mails()
    assert demo.feed(settings, db) == len(mails)
    assert demo.feed(settings, db) == 0
    with db.read() as session:
        stored = session.exec(select(Mail, RawMail).where(RawMail.mail_id == Mail.id)).all()
        assert len(session.exec(select(Case)).all()) == len(mails)
    assert {mail.disposition for mail, _ in stored} == {Disposition.CASE}
    assert {raw.octets for _, raw in stored} == set(mails.values())


def test_only_what_is_missing_is_sent(door: None, db: Store, settings: Settings) -> None:
    """A sample mail that is gone from the register is sent again, alone."""
    demo.feed(settings, db)
    with db.write() as session:
        one = session.exec(select(Mail)).first()
        assert one is not None
        one.message_id, one.identity = "another@avsandare.example", "another"
    assert demo.feed(settings, db) == 1


def test_the_ready_made_command_sends_a_mail(door: None, db: Store, settings: Settings) -> None:
    """What is printed at start can be pasted into a shell, and a case is opened."""
    subprocess.run(["bash", "-c", demo.send_command(settings)], check=True)
    with db.read() as session:
        assert session.exec(select(Case.subject)).all() == ["Oplogad gata"]


def test_a_closed_door_is_said(db: Store, settings: Settings) -> None:
    """When nobody listens, or no door is configured, the sentence says what to do."""
    with pytest.raises(demo.DoorClosedError, match=r"nobody listens on .*`mailrouter run`"):
        demo.feed(settings, db)
    with pytest.raises(ConfigError, match=r"smtp\.listen"):
        demo.feed(Settings(smtp=Smtp(listen="")), db)
