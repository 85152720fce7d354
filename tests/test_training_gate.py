"""The gate before a new model: judged on weeks it has not seen, never worse at a warning, and doubts for a person."""

import fcntl
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.sparse import csr_matrix
from sqlmodel import select

from mailrouter import classify, config, memory, nightly, review, store, training, triage
from mailrouter.classify import Query, model
from mailrouter.cli import commands
from mailrouter.config import Classify, Settings
from mailrouter.corpus import Labelled
from mailrouter.review import Doubt
from mailrouter.store import Store
from mailrouter.tables import Case
from mailrouter.triage import Choice
from tests.clock import NOW as CLOCK
from tests.mails import octets
from tests.register import take_and_read
from tests.test_classify_training import confirmed, settings, trained

__all__ = ["settings"]  # the fixture with a small city

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def cases(count: int, last: date, per_day: int) -> list[Labelled]:
    """Confirmed cases, ``per_day`` a day, up to and with a day."""
    return [
        Labelled(Query(str(number), "", "x"), "bibliotek", day=(last - timedelta(days=number // per_day)).isoformat())
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "per_day", "held"),
    [
        (49, 1, 0),  # too few to keep any
        (60, 10, 12),  # a fifth
        (300, 2, 50),  # enough to judge, though three weeks have only 42
        (2000, 10, 210),  # three weeks
        (2000, 100, 400),  # three weeks are everything: a fifth
    ],
)
def test_the_newest_weeks_are_kept_for_judging(count: int, per_day: int, held: int) -> None:
    """What a version is judged on are the last weeks, and all of it is newer than what is learnt from."""
    teach, judge = training.split(cases(count, date(2026, 11, 20), per_day))
    assert (len(teach), len(judge)) == (count - held, held)
    assert not judge or max(row.day for row in teach) <= min(row.day for row in judge)


def test_a_later_training_is_judged_on_what_no_version_has_learnt() -> None:
    """Week by week the border moves on and never back."""
    borders = []
    everything = cases(1500, date(2026, 11, 20), 7)
    for end in (date(2026, 8, 1), date(2026, 9, 1), date(2026, 10, 1), date(2026, 11, 20)):
        teach, _ = training.split([row for row in everything if row.day <= end.isoformat()])
        borders.append(max(row.day for row in teach))
    assert borders == sorted(borders)


FIGURES = {"unit top-1": 0.9, "unit top-3": 0.95, "area top-1": 0.8, "area top-3": 0.9, "recall of hot": 1.0}


@pytest.mark.parametrize(
    ("change", "opens"),
    [
        ({}, False),  # no better: the one in use stays
        ({"unit top-1": 0.91}, True),
        ({"unit top-1": 0.99, "recall of hot": 0.99}, False),
        ({"unit top-1": 0.89, "unit top-3": 1.0}, False),
        ({"unit top-3": 0.96}, True),
        ({"area top-1": 0.81}, True),
    ],
)
def test_the_gate(change: dict[str, float], opens: bool) -> None:
    """A version must be better, and a warning's recall may not be worse for any gain."""
    assert training.better(FIGURES | change, FIGURES) is opens


def test_the_gate_refuses_what_recent_weeks_contradict(settings: Classify) -> None:
    """What was learnt from old decisions is judged on the newest, which were decided otherwise: it is not used."""
    current = trained(settings)
    old = [
        Labelled(Query(f"a{number}", "", "Det gäller lyktstolpen"), "sophamtning", day="2026-06-01")
        for number in range(80)
    ]
    new = [
        Labelled(Query(f"b{number}", "", "Det gäller lyktstolpen"), "gatubelysning", day="2026-10-20")
        for number in range(20)
    ]
    card = trained(settings, [*new, *old], hour=13)
    assert card.measures["judged on mails"] == 20
    assert card.measures["used"] == 0
    assert model.current_version(settings.models) == current.version


def test_a_wrong_label_is_listed(settings: Classify) -> None:
    """A case decided against everything similar is named for a person, by its number alone."""
    wrong = Labelled(Query("26-2223-P", "", "Tack för lyktstolpen!"), "sophamtning", day="2026-10-01")
    card = trained(settings, [wrong, *confirmed(20, "gatubelysning", "Tack för lyktstolpen och belysningen nummer")])
    (doubt,) = [one for one in review.read(settings.models / card.version) if one.source == "confirmed"]
    assert (doubt.id, doubt.area, doubt.similar, doubt.suggested) == (
        "26-2223-P", "sophamtning", "gatubelysning", "gatubelysning",
    )  # fmt: skip
    assert "lyktstolp" not in (settings.models / card.version / review.REVIEW).read_text(encoding="utf-8")


def test_only_what_everything_similar_denies_is_doubted() -> None:
    """A label that one of the similar mails shares is left alone, however sure the model is of another."""
    matrix = csr_matrix(np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1.0]]))
    rows = [Labelled(Query(str(number), "", ""), "a") for number in range(5)]
    likely = np.array([[0.01, 0.99], [0.01, 0.99], [0.01, 0.99], [0.01, 0.99], [0.01, 0.99]])

    def doubted(labels: list[int]) -> list[str]:
        return [one.id for one in review.doubts(rows, matrix, np.array(labels), likely, ("a", "b"))]

    assert doubted([0, 1, 1, 1, 0]) == ["0"]  # the last one has nothing similar
    assert doubted([0, 0, 1, 1, 1]) == []


def test_a_review_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Doubts stand beside the card; a version from before there were any has none."""
    doubt = Doubt("confirmed", "26-2223-P", "a", "b", "b", 0.9)
    assert review.read(tmp_path) == []
    review.write(tmp_path, [doubt])
    assert review.read(tmp_path) == [doubt]


def told(*words: str) -> Any:
    """What a command prints, as JSON."""
    done = CliRunner().invoke(commands, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)


def test_versions_and_doubts_are_listed(settings: Classify, tmp_path: Path) -> None:
    """The commands show each version, the one in use, and what a person should look at."""
    first = trained(settings)
    review.write(settings.models / first.version, [Doubt("confirmed", "26-2223-P", "a", "b", "b", 0.9)])
    (tmp_path / "mailrouter.toml").write_text(f'[classify]\nmodels = "{settings.models}"\n', encoding="utf-8")
    where = ("--config", str(tmp_path / "mailrouter.toml"))
    listed = told("model", "list", *where)
    assert [(row["version"], row["in_use"], row["card"]) for row in listed] == [(first.version, True, True)]
    assert [row["id"] for row in told("model", "review", *where)] == ["26-2223-P"]


def test_a_version_whose_card_is_gone_is_said(db: Store, store_url: str, settings: Classify, tmp_path: Path) -> None:
    """Suggestions are counted by the version that made them, also one that nobody has any more."""
    kept = trained(settings)
    (first, *_) = take_and_read(db, octets("1", key="1"), octets("2", key="2"), octets("3", key="3"))
    with db.write() as session:
        for case in session.exec(select(Case)):
            version = "2026-01-01-aaaaaa" if case.id == first.case_id else kept.version
            case.suggestion = (case.suggestion or {}) | {"by": f"regler abc, modell {version}"}
    content = f'[classify]\nmodels = "{settings.models}"\n[store]\nurl = "{store_url}"\n'
    (tmp_path / "mailrouter.toml").write_text(content, encoding="utf-8")
    listed = told("model", "list", "--register", "--config", str(tmp_path / "mailrouter.toml"))
    assert [(row["version"], row["card"], row["suggestions"]) for row in listed] == [
        (kept.version, True, 2), ("2026-01-01-aaaaaa", False, 1),
    ]  # fmt: skip


def test_a_night_with_few_decisions_trains_nothing(sqlite: tuple[Store, config.Store], settings: Classify) -> None:
    """Below the least number of new decisions nothing is made, and the status says so."""
    trained(settings)
    db, _ = sqlite
    trainer = nightly.Trainer(db, Settings(classify=settings.model_copy(update={"train_least": 1})))
    trainer.run(NOW)
    assert trainer.status()["outcome"] == "0 new decisions: too few to train"
    assert len(list(settings.models.glob("*/card.json"))) == 1


@pytest.fixture
def sqlite(tmp_path: Path, migrated_sqlite: bytes) -> Iterator[tuple[Store, config.Store]]:
    """A register of its own, and where it is; what a night does has nothing to do with the dialect."""
    (tmp_path / "night.db").write_bytes(migrated_sqlite)
    where = config.Store(url=f"sqlite:///{tmp_path / 'night.db'}")
    opened = store.connect(where)
    yield opened, where
    opened.dispose()


def test_a_night_makes_a_version_that_running_work_takes_up(
    sqlite: tuple[Store, config.Store], settings: Classify
) -> None:
    """In a process of its own a better version is made; whoever suggests takes it up, and stays with a sound one."""
    db, where = sqlite
    corpus = settings.models / "corpus" / "train-1.jsonl"
    good = corpus.read_text(encoding="utf-8")
    corpus.write_text(
        good.replace('"gatubelysning"', '"?"').replace('"bibliotek"', '"gatubelysning"').replace("?", "bibliotek")
    )
    first = training.train(settings, [], lambda _: None, now=datetime(2026, 1, 1, tzinfo=UTC))
    remembered = memory.Memory(db, classify.load(settings), 10)
    corpus.write_text(good, encoding="utf-8")
    (taken,) = take_and_read(db, octets("Lampa", "Lampan i lyktstolpen"))
    with db.write() as session:
        triage.confirm(
            session, taken.case_id, [Choice("u-gatubelysning", "gatubelysning")], seen=None, actor="eva", now=CLOCK,
            organisation=remembered.classifier.organisation, settings=Settings(),
        )  # fmt: skip
    least = settings.model_copy(update={"train_least": 1})
    trainer = nightly.Trainer(db, Settings(store=where, classify=least))
    trainer.run(NOW)
    assert trainer.status() == {"at": NOW.isoformat(timespec="seconds"), "outcome": "a new version is in use"}
    second = model.current_version(settings.models)
    assert second != first.version
    assert model.load_card(settings.models / second).data["confirmed"] == 1
    assert remembered.take_up(settings.models) == second
    assert remembered.take_up(settings.models) is None
    assert remembered.classify([Query("", "", "Lyktstolpen")], NOW.date())[0].by.endswith(second)
    (settings.models / model.CURRENT).write_text("gone\n")
    with pytest.raises(model.ModelError):
        remembered.take_up(settings.models)
    assert remembered.classifier.model.card.version == second


def test_two_never_train_in_one_folder(settings: Classify) -> None:
    """Whoever comes second is told, and a lock that nobody holds any more is no obstacle."""
    with nightly.alone(settings.models) as free:
        assert free
        with nightly.alone(settings.models) as also:
            assert not also
    with (settings.models / nightly.LOCK).open("w") as left, nightly.alone(settings.models) as free:
        assert free
        with pytest.raises(BlockingIOError):
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_no_decisions_are_no_examples(db: Store) -> None:
    """An empty register teaches nothing and fails nothing."""
    with db.read() as session:
        assert list(memory.examples(session)) == []
