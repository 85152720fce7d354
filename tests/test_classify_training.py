"""Training on a small corpus: a new version is made, judged, used or not, and can be left again."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailrouter import classify, config, corpus, training
from mailrouter.classify import Query, model
from mailrouter.corpus import CorpusError, Labelled

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
WORDS = {
    "gatubelysning": ["lampan", "lyktstolpen", "belysningen", "ljuset", "mörkret"],
    "bibliotek": ["boken", "lånekortet", "biblioteket", "romanen", "läsesalen"],
    "sophamtning": ["soptunnan", "kärlet", "soporna", "matavfallet", "sopbilen"],
}
FRAMES = ["Varför är {} så dålig?", "Tack för {}!", "Jag undrar över {} hos oss.", "{} fungerar inte i dag."]


def mails(frames: list[str], start: int = 0) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for area, words in WORDS.items():
        for word in words:
            for frame in frames:
                body = frame.format(word)
                kind = "fraga" if body.endswith("?") else "klagomal"
                made.append({"id": f"m{start + len(made)}", "subject": "", "body": body, "area": area, "kind": kind})
    return made


def written(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def settings(tmp_path: Path) -> config.Classify:
    """A city of three areas with a small corpus, and one rule."""
    folder = tmp_path / "models" / "corpus"
    folder.mkdir(parents=True)
    written(folder / "train-1.jsonl", mails(FRAMES))
    written(folder / "validation.jsonl", mails(["Hej! Det gäller {}."]))
    units = [{"id": f"u-{area}", "name": area, "kind": "bolag", "mailbox": "a@stad.example"} for area in WORDS]
    areas = [{"id": area, "name": area, "unit": f"u-{area}"} for area in WORDS]
    city = {"version": 1, "units": units, "areas": areas, "districts": {}}
    rule = {"name": "akut", "why": "Det är akut.", "when": {"words": ["akut"]}, "then": {"flag": "bradskande"}}
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "organisation.yaml").write_text(yaml.safe_dump(city), encoding="utf-8")
    (tmp_path / "rules" / "flags.yaml").write_text(
        yaml.safe_dump({"rules": [rule | {"matches": ["akut"], "misses": ["lugnt"]}]}), encoding="utf-8"
    )
    return config.Classify(
        models=tmp_path / "models", rules=tmp_path / "rules", organisation=tmp_path / "rules" / "organisation.yaml"
    )


def trained(settings: config.Classify, confirmed: list[Labelled] | None = None, hour: int = 12) -> model.ModelCard:
    return training.train(settings, confirmed or [], lambda _: None, now=NOW.replace(hour=hour))


def confirmed(count: int, area: str, body: str) -> list[Labelled]:
    return [
        Labelled(Query(str(number), "", f"{body} {number}"), area, day=f"2026-10-{1 + number % 28:02}")
        for number in range(count)
    ]


def test_a_first_version_is_used(settings: config.Classify) -> None:
    """With no model in use, the first one is used, suggests, and has a card that says what it is."""
    card = trained(settings)
    assert model.current_version(settings.models) == card.version
    assert card.measures["used"] == 1
    assert card.data["train"] == 60
    assert "synthetic" in card.note
    verdict = classify.load(settings).classify([Query("1", "", "Lyktstolpen är trasig")], NOW.date())[0]
    assert verdict.area == "gatubelysning"
    assert len({candidate.unit for candidate in verdict.candidates[:3]}) == 3


def test_flags_without_examples_are_the_rules_alone(settings: config.Classify) -> None:
    """Where no mail teaches a flag, a rule still raises it."""
    trained(settings)
    classifier = classify.load(settings)
    queries = [Query("1", "", "Lampan är akut trasig"), Query("2", "", "Lampan är trasig")]
    assert [verdict.flags for verdict in classifier.classify(queries, NOW.date())] == [("bradskande",), ()]


def test_training_twice_gives_the_same(settings: config.Classify) -> None:
    """The same data make the same version, so that a result can be made again."""
    assert trained(settings).sha256 == trained(settings, hour=13).sha256


def test_the_gate_keeps_a_worse_one_out(settings: config.Classify) -> None:
    """A version that learnt from wrong labels is made, and not used."""
    good = trained(settings)
    written(
        settings.models / "corpus" / "train-1.jsonl",
        [row | {"area": "bibliotek" if row["area"] != "bibliotek" else "sophamtning"} for row in mails(FRAMES)],
    )
    bad = trained(settings)
    assert bad.version != good.version
    assert bad.measures["used"] == 0
    assert model.current_version(settings.models) == good.version


def test_confirmed_cases_teach_and_judge(settings: config.Classify) -> None:
    """Enough confirmed cases teach a new word; the newest of them are kept to judge with."""
    trained(settings)
    cases = confirmed(60, "bibliotek", "Släktforskarhörnan zymurgi")
    card = trained(settings, cases)
    assert card.data["confirmed"] == 48
    assert card.window == ("2026-10-01", sorted(case.day for case in cases)[47])
    verdict = classify.load(settings, card.version).classify([Query("1", "", "zymurgi")], NOW.date())[0]
    assert verdict.area == "bibliotek"


def test_an_older_version_can_be_used_again(settings: config.Classify) -> None:
    """The way back is one call; a version that is not sound is refused."""
    first = trained(settings)
    second = trained(settings, confirmed(60, "bibliotek", "Bokbussen"))
    training.use(settings.models, second.version)
    training.use(settings.models, first.version)
    assert model.current_version(settings.models) == first.version
    (settings.models / second.version / model.WEIGHTS).write_bytes(b"changed")
    with pytest.raises(model.ModelError, match="hash differs"):
        training.use(settings.models, second.version)
    assert model.current_version(settings.models) == first.version


def test_only_an_unused_version_is_discarded(settings: config.Classify) -> None:
    """The version in use cannot be removed."""
    card = trained(settings)
    with pytest.raises(model.ModelError, match="is in use"):
        training.discard(settings.models, card.version)
    shutil.copytree(settings.models / card.version, settings.models / "old")
    training.discard(settings.models, "old")
    assert not (settings.models / "old").exists()


@pytest.mark.parametrize(
    ("new", "old", "opens"),
    [
        ({"unit top-1": 0.8}, {}, True),
        ({"unit top-1": 0.8}, {"unit top-1": 0.8}, False),
        ({"unit top-1": 0.79}, {"unit top-1": 0.8}, False),
        ({"unit top-1": 0.9, "recall of hot": 0.9}, {"unit top-1": 0.8, "recall of hot": 1.0}, False),
        ({"unit top-1": 0.9, "recall of hot": 1.0}, {"unit top-1": 0.8, "recall of hot": 0.9}, True),
    ],
)
def test_the_gate(new: dict[str, float], old: dict[str, float], opens: bool) -> None:
    """No flag may lose recall, and the unit is right more often."""
    assert training.better(new, old) is opens


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "train-2.jsonl, line 1: "),
        ('{"subject": "", "body": "x"}', "line 1: 'area'"),
        ('{"subject": "", "body": "x", "area": "rymden"}', r"areas that do not exist: rymden \(train-2\.jsonl\)"),
    ],
)
def test_a_bad_corpus_is_named(settings: config.Classify, line: str, fault: str) -> None:
    """A corpus that cannot be learnt from is refused with file and line, or the area nobody knows."""
    (settings.models / "corpus" / "train-2.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=fault):
        trained(settings)


def test_validation_is_never_learnt_from() -> None:
    """No mail of the shipped training files is a validation mail."""
    shipped = config.Classify()
    folder = shipped.models / "corpus"
    city = classify.load(shipped).organisation
    known = {row.query.body for row in corpus.seed(folder, city)}
    assert known.isdisjoint(row.query.body for row in corpus.validation(folder))
