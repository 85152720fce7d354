"""The commands on users, clients and webhooks, as an operator types them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailrouter.cli import commands
from mailrouter.desk import auth
from mailrouter.store import Store
from tests.desk import PASSWORD, STREETS


class Operator:
    """Somebody at a terminal, with a configuration that names the database."""

    def __init__(self, folder: Path, store_url: str) -> None:
        self.config = folder / "mailrouter.toml"
        self.config.write_text(f'[store]\nurl = "{store_url}"\n', encoding="utf-8")
        self.password = folder / "password"
        self.password.write_text(f"{PASSWORD}\n", encoding="utf-8")

    def types(self, *words: str) -> str:
        """What a command prints on standard output. Raises what the command raises."""
        done = CliRunner().invoke(
            commands, [*words, "--config", str(self.config)], catch_exceptions=False, standalone_mode=False
        )
        if done.exception:
            raise done.exception
        return done.stdout


@pytest.fixture
def operator(tmp_path: Path, store_url: str) -> Operator:
    """One for each database."""
    return Operator(tmp_path, store_url)


def test_users_are_added_changed_and_kept_out(operator: Operator, db: Store) -> None:
    """With clearances, which go with `none`; what is not named stays as it is."""
    added = ("user", "add", "Rut", "--role", "registrator", "--unit", STREETS, "--clearance", "skyddad")
    operator.types(*added, "--password-file", str(operator.password))
    operator.types("user", "change", "rut", "--role", "chef")
    (rut,) = json.loads(operator.types("user", "list", "--json"))
    assert (rut["role"], rut["unit"], rut["clearances"], rut["active"]) == ("chef", STREETS, ["skyddad"], True)
    operator.types("user", "change", "rut", "--clearance", "none")
    operator.types("user", "disable", "rut")
    (rut,) = json.loads(operator.types("user", "list", "--json"))
    assert (rut["clearances"], rut["active"]) == ([], False)
    operator.types("user", "enable", "rut")
    operator.password.write_text("ett annat ord\n", encoding="utf-8")
    operator.types("user", "password", "rut", "--password-file", str(operator.password))
    operator.types("user", "logout", "rut")
    with db.read() as session:
        assert auth.check_password(session, "rut", PASSWORD) is None
        assert auth.check_password(session, "rut", "ett annat ord") is not None
    for words in (("user", "logout", "olle"), ("user", "change", "rut", "--role", "registrator", "--unit", "nowhere")):
        with pytest.raises(Exception, match="there is no"):
            operator.types(*words)


def test_clients_are_added_listed_and_disabled(operator: Operator) -> None:
    """The token is printed once and never listed; a unit that does not exist is refused."""
    token = operator.types(
        "client", "add", "platina", "--scope", "read", "--scope", "settle", "--unit", STREETS
    ).strip()
    assert token.startswith("mr_")
    listed = operator.types("client", "list", "--json")
    assert token not in listed
    operator.types("client", "disable", "platina")
    (platina,) = json.loads(operator.types("client", "list", "--json"))
    assert (platina["scopes"], platina["unit"], platina["active"]) == (["read", "settle"], STREETS, False)
    with pytest.raises(Exception, match="no förvaltning"):
        operator.types("client", "add", "annan", "--scope", "read", "--unit", "nowhere")


def test_webhooks_are_added_listed_and_removed(operator: Operator) -> None:
    """The secret is printed once and never listed."""
    secret = operator.types("webhook", "add", "platina", "https://platina.example/in", "--kind", "answered").strip()
    assert secret.startswith("whsec_")
    listed = operator.types("webhook", "list", "--json")
    assert secret not in listed
    assert json.loads(listed)[0]["kinds"] == ["answered"]
    assert "https://platina.example/in" in operator.types("webhook", "list")
    operator.types("webhook", "remove", "platina")
    assert json.loads(operator.types("webhook", "list", "--json")) == []
