"""What `mailrouter check` finds when the settings meet the world: organisation, model, servers."""

from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from mailrouter import check
from mailrouter.config import Classify, ImapAccount, Settings, Smarthost, Store
from tests.servers.dovecot import PASSWORD, Dovecot


def _account(server: Dovecot, **other: object) -> ImapAccount:
    settings: dict[str, object] = {
        "name": "kontaktcenter",
        "host": "127.0.0.1",
        "port": server.imaps,
        "tls_ca_file": server.certificate,
        "user": "check",
        "password": SecretStr(PASSWORD),
    }
    return ImapAccount.model_validate(settings | other)


def _settings(tmp_path: Path, **sections: object) -> Settings:
    return Settings.model_validate({"store": Store(url=f"sqlite:///{tmp_path}/mailrouter.db")} | sections)


def test_a_mailbox_that_opens_is_no_problem(tmp_path: Path, imap_server: Dovecot) -> None:
    """An IMAP account that lets us in over TLS leaves nothing to say, and no mail in it is touched."""
    imap_server.deliver("check", [b"Subject: hej\r\n\r\nhej\r\n"])
    assert check.problems(_settings(tmp_path, imap=[_account(imap_server)]), connect=True) == []
    with imap_server.client("check", readonly=True) as client:
        assert client.search("UNSEEN") == [1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": SecretStr("fel")}, "cannot open INBOX"),
        ({"folders": ["Finns inte"]}, "cannot open Finns inte"),
        ({"tls_ca_file": None}, "certificate verify failed"),
    ],
    ids=["password", "folder", "certificate"],
)
def test_a_mailbox_that_does_not_open_is_named(
    wrong: dict[str, object], said: str, tmp_path: Path, imap_server: Dovecot
) -> None:
    """A wrong password, folder or certificate is a sentence with the account's name, and never the password."""
    settings = _settings(tmp_path, imap=[_account(imap_server, **wrong)])
    assert check.problems(settings) == []
    (sentence,) = check.problems(settings, connect=True)
    assert sentence.startswith("imap account kontaktcenter: ")
    assert said in sentence
    assert "fel" not in sentence.split()


def test_a_smarthost_that_offers_no_tls_is_named(tmp_path: Path, imap_server: Dovecot) -> None:
    """A server without the STARTTLS that is demanded is said before the first mail waits for it."""
    smarthost = Smarthost(kind="smtp", host="127.0.0.1", port=imap_server.lmtp, timeout_seconds=5)
    (sentence,) = check.problems(_settings(tmp_path, smarthost=smarthost), connect=True)
    assert sentence.startswith("smarthost: ")
    assert f"127.0.0.1:{imap_server.lmtp}" in sentence


def test_model_and_organisation_must_speak_of_the_same(tmp_path: Path) -> None:
    """An area that the model suggests and the organisation does not have is found before a mail is judged."""
    content = yaml.safe_load(Classify().organisation.read_text(encoding="utf-8"))
    content["areas"] = [area for area in content["areas"] if area["id"] != "bibliotek"]
    file = tmp_path / "organisation.yaml"
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    (tmp_path / "rules").mkdir()
    said = check.problems(_settings(tmp_path, classify=Classify(organisation=file, rules=tmp_path / "rules")))
    assert [sentence for sentence in said if sentence.endswith("what the organisation does not have: bibliotek")]


def test_a_unit_without_a_mailbox_is_noted(tmp_path: Path) -> None:
    """An administration that nothing can be forwarded to is said by name; outside bodies never have a mailbox."""
    content = yaml.safe_load(Classify().organisation.read_text(encoding="utf-8"))
    ours = next(unit for unit in content["units"] if unit["kind"] == "forvaltning")
    ours["mailbox"] = None
    file = tmp_path / "organisation.yaml"
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    (sentence,) = [
        note for note in check.notes(_settings(tmp_path, classify=Classify(organisation=file))) if "no mailbox" in note
    ]
    assert ours["id"] in sentence
    assert "polisen" not in sentence
