"""Signed links."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrouter import config, signing
from mailrouter.config import City
from mailrouter.store import Store
from tests.clock import NOW

KEYS = (b"k" * 32,)


@given(st.text(), st.text(), st.text())
def test_a_signature_is_for_one_value_and_one_purpose(purpose: str, value: str, other: str) -> None:
    """What was signed is known again; the same signature does not fit another value or purpose."""
    signature = signing.sign(KEYS, purpose, value)
    assert signing.verify(KEYS, purpose, value, signature)
    assert signing.verify(KEYS, purpose, other, signature) == (other == value)
    assert signing.verify(KEYS, purpose + other, value, signature) == (other == "")


def test_a_signature_that_is_none() -> None:
    """Nothing, letters beyond ASCII or a cut signature are simply wrong."""
    whole = signing.sign(KEYS, "answered", "t")
    assert not any(signing.verify(KEYS, "answered", "t", wrong) for wrong in ("", "åäö", "\udcff", whole[:-1]))


def test_keys_are_changed_without_breaking_links(tmp_path: Path) -> None:
    """A new first line signs; what the old one signed is good until that line is taken away."""
    file = tmp_path / "link.keys"
    old, new = "o" * 32, "n" * 40
    file.write_text(f"{old}\n")
    before = City(link_key_file=file).link_keys
    link = signing.sign(before, "answered", "t")
    file.write_text(f"{new}\n{old}\n")
    both = City(link_key_file=file).link_keys
    assert signing.sign(both, "answered", "t") != link
    assert signing.verify(both, "answered", "t", link)
    file.write_text(f"{new}\n")
    assert not signing.verify(City(link_key_file=file).link_keys, "answered", "t", link)


def test_without_a_file_the_key_is_made_once(db: Store) -> None:
    """Every later asking, on any node, finds the key that the first one made; before it nothing verifies."""
    with db.read() as session:
        assert signing.keys(session, City()) == ()
    with db.write() as session:
        made = signing.make_key(session, City(), NOW)
    with db.write() as session:
        assert signing.make_key(session, City(), NOW) == made
    with db.read() as session:
        assert signing.keys(session, City()) == made
    assert not signing.verify((), "answered", "t", signing.sign(made, "answered", "t"))


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    """A key that could be guessed stops the start, with a sentence."""
    (tmp_path / "link.keys").write_text("secret\n")
    (tmp_path / "mailrouter.toml").write_text(f'[city]\nlink_key_file = "{tmp_path}/link.keys"\n')
    with pytest.raises(config.ConfigError, match="at least 32 characters"):
        config.load(tmp_path / "mailrouter.toml")
