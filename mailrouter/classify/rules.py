"""Rules as data: knowledge that people write down, each with examples that must and must not match.

A rule file is YAML with a list ``rules``; docs/model.md has every key. A weight is added to the log of the
odds, so a weight of 1 makes an area 2.7 times as likely as before.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from mailrouter.classify import text as texts
from mailrouter.classify.values import FLAGS, KINDS, Query
from mailrouter.organisation import Organisation

_STRICT = ConfigDict(extra="forbid")
_ORGANISATION = "organisation.yaml"  # lives in the same folder and is no rule file
DECISION = 8.0  # the weight of a decision: beyond what the model's own scores reach


class RuleError(ValueError):
    """The rules cannot be used; the message has one sentence a fault."""


@dataclass(frozen=True)
class Conditions:
    """What must hold, all of it. Words are stems ("gata" also meets "gatorna"); * stands for any letters."""

    __pydantic_config__ = _STRICT

    words: tuple[str, ...] = ()  # at least one of these words or phrases
    and_words: tuple[str, ...] = ()  # and at least one of these
    not_words: tuple[str, ...] = ()  # and none of these
    regex: tuple[str, ...] = ()  # at least one is found in subject and body, all in lower case
    subject: str | None = None  # a regex searched in the lower-case subject alone
    sender: str | None = None  # a regex searched in the sender's lower-case address
    fields: Mapping[str, str] = field(default_factory=dict)  # web-form label -> regex searched in its value
    language: tuple[str, ...] = ()  # ISO 639-1
    place: str | None = None  # a district, or "none"
    automatic: bool | None = None  # written by a program


@dataclass(frozen=True)
class Effect:
    """What follows: one of area, decision, kind and flag."""

    __pydantic_config__ = _STRICT

    area: str | None = None
    decision: str | None = None  # an area that the rule is sure of
    kind: str | None = None
    flag: str | None = None
    weight: float = 1.5


@dataclass(frozen=True)
class Rule:
    """One piece of knowledge. ``why`` is a sentence in Swedish that the desk shows."""

    __pydantic_config__ = _STRICT

    name: str
    why: str
    when: Conditions
    then: Effect
    matches: tuple[str, ...]
    misses: tuple[str, ...]

    @cached_property
    def patterns(self) -> "_Patterns":
        """The regular expressions, compiled once."""
        return _Patterns(self.when)


class _Patterns:
    def __init__(self, when: Conditions) -> None:
        self.text = [re.compile(one) for one in when.regex]
        self.subject = re.compile(when.subject) if when.subject else None
        self.sender = re.compile(when.sender) if when.sender else None
        self.fields = {label.casefold(): re.compile(value) for label, value in when.fields.items()}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the rules look at: the query with what was found out before them."""

    query: Query
    language: str = "sv"
    district: str | None = None


Key = tuple[str, str]  # how a word is meant (= stem, ^ beginning, $ end, * part) and its letters


def _key(word: str) -> Key:
    plain = texts.fold(word.lower().strip("*"))
    if word.startswith("*") and word.endswith("*"):
        return "*", plain
    if word.startswith("*"):
        return "$", plain
    return ("^", plain) if word.endswith("*") else ("=", texts.stem(word.lower()))


def _short_bases(word: str) -> list[str]:
    """Snön and bron without their article: the stemmer leaves words as short as these alone."""
    bases = (word.removesuffix(ending) for ending in ("n", "ns", "t", "ts") if word.endswith(ending))
    return [base for base in bases if 2 < len(base) < 5 and base[-1] in "aeouiy"]


class _Lexicon:
    """All words of all rules in one index, so that a text is walked once and not once a rule."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases: dict[Key, list[tuple[str, tuple[Key, ...]]]] = {}
        self._lengths: dict[str, set[int]] = {"^": set(), "$": set(), "*": set()}
        self._wanted: set[Key] = set()
        self._seen: dict[str, set[Key]] = {}
        for phrase in set(phrases):
            keys = tuple(_key(word) for word in phrase.split())
            self._phrases.setdefault(keys[0], []).append((phrase, keys))
            self._wanted.update(keys)
            for how, letters in keys:
                if how != "=":
                    self._lengths[how].add(len(letters))

    def found(self, words: Sequence[str]) -> set[str]:
        """The phrases that stand somewhere in the words."""
        keys = [self._keys(word) for word in words]
        return {
            phrase
            for place, mine in enumerate(keys)
            for first in mine
            for phrase, wanted in self._phrases.get(first, ())
            if len(wanted) <= len(keys) - place and all(key in keys[place + step] for step, key in enumerate(wanted))
        }

    def _keys(self, word: str) -> set[Key]:
        if word not in self._seen:
            if len(self._seen) > 100_000:  # bounded: a daemon meets new words for months
                self._seen.clear()
            self._seen[word] = self._made(word)
        return self._seen[word]

    def _made(self, word: str) -> set[Key]:
        folded = texts.fold(word)
        keys = {("=", texts.stem(word))} | {("=", base) for base in _short_bases(folded)}
        keys |= {("^", folded[:length]) for length in self._lengths["^"] if length <= len(folded)}
        keys |= {("$", folded[-length:]) for length in self._lengths["$"] if length < len(folded)}
        for length in self._lengths["*"]:
            keys |= {("*", folded[at : at + length]) for at in range(len(folded) - length + 1)}
        return keys & self._wanted


@dataclass(frozen=True)
class Rules:
    """All rules of a folder. ``digest`` names exactly this set, so that a suggestion stays explainable."""

    rules: tuple[Rule, ...]
    digest: str

    @cached_property
    def _lexicon(self) -> _Lexicon:
        return _Lexicon(
            phrase for rule in self.rules for phrase in (*rule.when.words, *rule.when.and_words, *rule.when.not_words)
        )

    def hits(self, seen: Seen) -> list[Rule]:
        """The rules whose conditions hold, in the order of the files."""
        text = f"{seen.query.subject}\n{texts.readable('', seen.query.body)}".lower()
        found = self._lexicon.found(texts.words(text))
        return [rule for rule in self.rules if _holds(rule, seen, text, found)]


def _holds(rule: Rule, seen: Seen, text: str, found: set[str]) -> bool:
    when, patterns = rule.when, rule.patterns
    return (
        (not when.words or not found.isdisjoint(when.words))
        and (not when.and_words or not found.isdisjoint(when.and_words))
        and found.isdisjoint(when.not_words)
        and (not when.language or seen.language in when.language)
        and (when.place is None or when.place == (seen.district or "none"))
        and (when.automatic is None or when.automatic == seen.query.automatic)
        and (patterns.subject is None or patterns.subject.search(seen.query.subject.lower()) is not None)
        and (patterns.sender is None or patterns.sender.search(seen.query.sender.lower()) is not None)
        and _fields_hold(patterns.fields, seen.query.fields)
        and (not patterns.text or any(pattern.search(text) for pattern in patterns.text))
    )


def _fields_hold(wanted: Mapping[str, re.Pattern[str]], fields: Sequence[tuple[str, str]]) -> bool:
    values = {label.casefold(): value.lower() for label, value in fields}
    return all(pattern.search(values.get(label, "")) for label, pattern in wanted.items())


def load(folder: Path, organisation: Organisation) -> Rules:
    """Read every rule file of a folder. Raises RuleError with a sentence a fault."""
    rules, faults, digest = _read(folder)
    faults += [fault for rule in rules for fault in _faults(rule, organisation)]
    faults += [f'two rules have the name "{name}"' for name in _twice(rule.name for rule in rules)]
    if faults:
        raise RuleError("\n".join(faults))
    return Rules(tuple(rules), digest)


def check(folder: Path, organisation: Organisation) -> list[str]:
    """What is wrong with the rules, in sentences: faults of the files, and examples that do not hold."""
    try:
        loaded = load(folder, organisation)
    except RuleError as error:
        return str(error).splitlines()
    return [fault for rule in loaded.rules for fault in _example_faults(rule, loaded)]


def _example_faults(rule: Rule, rules: Rules) -> Iterator[str]:
    alone = Rules((rule,), rules.digest)
    for example in rule.matches:
        if not alone.hits(_example(rule, example)):
            yield f'the rule {rule.name} does not match its own example "{example}"'
    for example in rule.misses:
        if alone.hits(_example(rule, example)):
            yield f'the rule {rule.name} matches "{example}", which it must not'


def _example(rule: Rule, line: str) -> Seen:
    """An example is a body, or "subject | body", and may have lines before it that say more.

    Those are "sender: ADDRESS", "field LABEL: VALUE" and "automatic: yes". Conditions on language and place are
    taken to hold, since a line of text cannot show them.
    """
    head, _, rest = line.rpartition("\n")
    subject, divider, body = rest.partition(" | ")
    lines = [part.partition(": ") for part in head.splitlines()]
    query = Query(
        id="example",
        subject=subject if divider else "",
        body=body if divider else rest,
        sender=next((value for key, _, value in lines if key == "sender"), ""),
        fields=tuple((key.removeprefix("field "), value) for key, _, value in lines if key.startswith("field ")),
        automatic=any(key == "automatic" for key, _, _ in lines),
    )
    place = None if rule.when.place == "none" else rule.when.place
    return Seen(query, rule.when.language[0] if rule.when.language else "sv", place)


def _read(folder: Path) -> tuple[list[Rule], list[str], str]:
    rules: list[Rule] = []
    faults: list[str] = []
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.yaml")):
        if file.name == _ORGANISATION:
            continue
        try:
            octets = file.read_bytes()
            content = yaml.safe_load(octets)
            parsed = TypeAdapter(dict[str, list[Rule]]).validate_python(content)
            rules += parsed["rules"]
            digest.update(octets)
        except OSError as error:
            faults.append(f"cannot read the rules {file}: {error.strerror}")
        except yaml.YAMLError as error:
            faults.append(f"{file}: not valid YAML: {' '.join(str(error).split())}")
        except KeyError:
            faults.append(f'{file}: there is no list "rules"')
        except ValidationError as error:
            faults += [f"{file}: {_sentence(fault, content)}" for fault in error.errors()]
    return rules, faults, digest.hexdigest()[:12]


def _sentence(fault: Any, content: Any) -> str:
    """One pydantic fault, with the rule's name in place of its index."""
    _, index, *where = (*fault["loc"], "", "")[:5] if len(fault["loc"]) < 2 else fault["loc"]
    try:
        name = content["rules"][index]["name"]
    except (KeyError, TypeError, IndexError):
        name = index
    return f"the rule {name}: {'.'.join(str(part) for part in where if part != '')}: {fault['msg']}"


def _twice(names: Iterable[str]) -> list[str]:
    listed = list(names)
    return sorted({name for name in listed if listed.count(name) > 1})


def _faults(rule: Rule, organisation: Organisation) -> Iterator[str]:
    effects = [effect for effect in (rule.then.area, rule.then.decision, rule.then.kind, rule.then.flag) if effect]
    if len(effects) != 1:
        yield f"the rule {rule.name} must have exactly one of area, decision, kind and flag"
    for area in filter(None, (rule.then.area, rule.then.decision)):
        if area not in organisation.areas:
            yield f'the rule {rule.name} leads to "{area}", which is not an area'
    if rule.then.kind and rule.then.kind not in KINDS:
        yield f'the rule {rule.name} names the kind "{rule.then.kind}", which does not exist'
    if rule.then.flag and rule.then.flag not in FLAGS:
        yield f'the rule {rule.name} raises the flag "{rule.then.flag}", which does not exist'
    if rule.when.place not in (None, "none", *organisation.districts):
        yield f'the rule {rule.name} names the place "{rule.when.place}", which is not a district'
    if rule.when == Conditions():
        yield f"the rule {rule.name} has no conditions"
    if not rule.matches or not rule.misses:
        yield f"the rule {rule.name} needs examples under both matches and misses"
    try:
        _ = rule.patterns
    except re.error as error:
        yield f"the rule {rule.name} has a regular expression that is not valid: {error}"
