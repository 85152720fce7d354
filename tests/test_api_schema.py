"""The API keeps the promise of its OpenAPI description, whatever it is sent (Schemathesis)."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from mailrouter import config, store
from mailrouter.config import Desk, Settings
from tests.desk import letter, open_desk, receive
from tests.test_api import token_for

SCOPES = ("read", "sort", "settle")


@pytest.fixture(scope="module")
def described(migrated_sqlite: bytes) -> Iterator[tuple[BaseSchema, str, str]]:
    """The API over a register with a case: its description, a token and the case's number."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mailrouter.db"
        file.write_bytes(migrated_sqlite)
        opened = store.connect(config.Store(url=f"sqlite:///{file}"))
        (number,) = receive(opened, letter("Trasig lampa"))
        app = open_desk(opened, settings=Settings(desk=Desk(api_per_minute=100_000)))
        token = token_for(opened, "schemathesis", *SCOPES)
        yield schemathesis.openapi.from_asgi("/api/v1/openapi.json", app), token, number
        opened.dispose()


@pytest.mark.parametrize("real", [True, False], ids=["a case that exists", "whatever is made up"])
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_as_described(described: tuple[BaseSchema, str, str], mode: GenerationMode, real: bool) -> None:
    """No 5xx, no status, media type or body that the description does not name; nonsense is refused."""
    schema, token, number = described
    seen = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=6,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: schemathesis.Case[Any]) -> None:
            if real and "number" in case.path_parameters:
                case.path_parameters["number"] = number
            case.call_and_validate(
                headers={"Authorization": f"Bearer {token}"}, excluded_checks=[positive_data_acceptance]
            )

        ask()
        seen += 1
    assert seen == 14
