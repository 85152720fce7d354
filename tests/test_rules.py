"""Rules as data: what they match, what is wrong with them, and that the shipped ones keep their own examples."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mailrouter import config, organisation
from mailrouter.classify import rules
from mailrouter.classify.rules import RuleError, Seen
from mailrouter.classify.values import Query
from mailrouter.organisation import Organisation

SETTINGS = config.Classify()


@pytest.fixture(scope="module")
def city() -> Organisation:
    return organisation.load(SETTINGS.organisation)


def rule(**changes: object) -> dict[str, Any]:
    return {
        "name": "snö",
        "why": "Brevet handlar om snö.",
        "when": {"words": ["snö"]},
        "then": {"area": "vintervaghallning"},
        "matches": ["Snön ligger kvar."],
        "misses": ["Solen skiner."],
    } | changes


def written(folder: Path, *listed: dict[str, Any]) -> Path:
    (folder / "rules.yaml").write_text(yaml.safe_dump({"rules": list(listed)}, allow_unicode=True), encoding="utf-8")
    return folder


def hits(folder: Path, city: Organisation, seen: Seen) -> bool:
    return bool(rules.load(folder, city).hits(seen))


def test_the_shipped_rules_keep_their_examples(city: Organisation) -> None:
    """Every shipped rule matches what it says it matches and misses what it says it misses."""
    assert rules.check(SETTINGS.rules, city) == []
    assert len(rules.load(SETTINGS.rules, city).rules) > 20


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        (["gata"], "Gatorna är hala", True),  # inflection
        (["gata"], "gatukök", False),
        (["överklag*"], "Jag överklagade i går", True),
        (["overklag*"], "Jag överklagade i går", True),  # no dots in the rule
        (["överklag*"], "jag overklagar", True),  # no dots in the mail
        (["*lampa"], "Gatlampan? Nej, gatlampa.", True),
        (["*lampa"], "lampa", False),  # the end of a longer word
        (["*tillstånd*"], "parkeringstillståndet", True),
        (["skyddad identitet*"], "Vi har skyddad identitet.", True),
        (["skyddad identitet*"], "skyddad mark och min identitet", False),  # words of a phrase stand together
    ],
)
def test_words_meet_their_inflections(
    tmp_path: Path, city: Organisation, words: list[str], text: str, expected: bool
) -> None:
    """A word of a rule is a stem; a star stands for any letters, a phrase for words in a row."""
    folder = written(tmp_path, rule(when={"words": words}))
    assert hits(folder, city, Seen(Query("1", "", text))) is expected


@pytest.mark.parametrize(
    ("when", "seen", "expected"),
    [
        ({"words": ["snö"], "and_words": ["halt"]}, Seen(Query("1", "Snö", "Det är halt.")), True),
        ({"words": ["snö"], "and_words": ["halt"]}, Seen(Query("1", "Snö", "Det är fint.")), False),
        ({"words": ["snö"], "not_words": ["tack"]}, Seen(Query("1", "Snö", "Tack!")), False),
        ({"regex": [r"\bkl \d+"]}, Seen(Query("1", "", "Kom KL 14")), True),
        ({"subject": "^autosvar"}, Seen(Query("1", "Autosvar: hej", "")), True),
        ({"subject": "^autosvar"}, Seen(Query("1", "Hej", "autosvar")), False),
        ({"sender": r"@noreply\."}, Seen(Query("1", "", "", sender="X@Noreply.example")), True),
        ({"fields": {"Ärende": "snö"}}, Seen(Query("1", "", "", fields=(("ärende", "Snö på vägen"),))), True),
        ({"fields": {"Ärende": "snö"}}, Seen(Query("1", "", "snö")), False),
        ({"language": ["fi"]}, Seen(Query("1", "", "lumi"), language="fi"), True),
        ({"language": ["fi"]}, Seen(Query("1", "", "snö"), language="sv"), False),
        ({"place": "nordost"}, Seen(Query("1", "", "x"), district="nordost"), True),
        ({"place": "none"}, Seen(Query("1", "", "x")), True),
        ({"place": "none"}, Seen(Query("1", "", "x"), district="nordost"), False),
        ({"automatic": True}, Seen(Query("1", "", "x", automatic=True)), True),
        ({"automatic": True}, Seen(Query("1", "", "x")), False),
    ],
)
def test_conditions_must_all_hold(
    tmp_path: Path, city: Organisation, when: dict[str, Any], seen: Seen, expected: bool
) -> None:
    """Words, regular expressions, sender, form field, language, place and origin are each obeyed."""
    assert hits(written(tmp_path, rule(when=when)), city, seen) is expected


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"matches": ["Solen skiner."]}, 'the rule snö does not match its own example "Solen skiner."'),
        ({"misses": ["Snön ligger."]}, 'the rule snö matches "Snön ligger.", which it must not'),
        ({"misses": []}, "the rule snö needs examples under both matches and misses"),
        ({"then": {"area": "vinter"}}, 'the rule snö leads to "vinter", which is not an area'),
        ({"then": {"flag": "röd"}}, 'raises the flag "röd", which does not exist'),
        ({"then": {"kind": "gnäll"}}, 'names the kind "gnäll", which does not exist'),
        ({"then": {}}, "must have exactly one of area, decision, kind and flag"),
        ({"then": {"flag": "hot", "area": "polis"}}, "must have exactly one of"),
        ({"when": {"place": "norr"}}, 'names the place "norr", which is not a district'),
        ({"when": {}}, "the rule snö has no conditions"),
        ({"when": {"regex": ["("]}}, "a regular expression that is not valid"),
        ({"when": {"wrods": ["snö"]}}, "the rule snö: when.wrods"),
        ({"why": None}, "the rule snö: why"),
    ],
)
def test_a_wrong_rule_is_a_sentence(tmp_path: Path, city: Organisation, changes: dict[str, Any], sentence: str) -> None:
    """A rule that cannot be used, or does not keep its examples, is named with its fault."""
    faults = rules.check(written(tmp_path, rule(**changes)), city)
    assert len(faults) == 1
    assert sentence in faults[0]


def test_names_are_unique(tmp_path: Path, city: Organisation) -> None:
    """Two rules of one name are refused, since reasons and reports name them."""
    assert rules.check(written(tmp_path, rule(), rule()), city) == ['two rules have the name "snö"']


def test_no_yaml_is_refused(tmp_path: Path, city: Organisation) -> None:
    """A rule file that is no YAML, or has no list of rules, is refused by name."""
    (tmp_path / "a.yaml").write_text("rules: [", encoding="utf-8")
    with pytest.raises(RuleError, match=r"a\.yaml: not valid YAML"):
        rules.load(tmp_path, city)
    (tmp_path / "a.yaml").write_text("regler: []", encoding="utf-8")
    with pytest.raises(RuleError, match='no list "rules"'):
        rules.load(tmp_path, city)


def test_an_example_may_say_more(tmp_path: Path, city: Organisation) -> None:
    """An example may give a subject, a sender and form fields before its text."""
    listed = rule(
        when={"subject": "snö", "sender": "@skola", "fields": {"Ärende": "väg"}},
        matches=["sender: a@skola.example\nfield Ärende: väg\nSnö | Hej"],
        misses=["sender: a@annan.example\nfield Ärende: väg\nSnö | Hej"],
    )
    assert rules.check(written(tmp_path, listed), city) == []


def test_the_digest_names_the_set(tmp_path: Path, city: Organisation) -> None:
    """Any change of a rule changes the digest that a suggestion is stored with."""
    before = rules.load(written(tmp_path, rule()), city).digest
    after = rules.load(written(tmp_path, rule(why="Annat.")), city).digest
    assert before != after
