"""From queries to verdicts: the model's scores, the rules' weights, the place, and the words for why."""

import math
from collections.abc import Sequence
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mailrouter.classify import text as texts
from mailrouter.classify.language import SMALL_WORDS, language_of
from mailrouter.classify.rules import DECISION, Rule, Rules, Seen
from mailrouter.classify.values import FLAGS, Candidate, Query, Reason, Verdict
from mailrouter.gazetteer import Finding
from mailrouter.organisation import Organisation

if TYPE_CHECKING:  # numpy is loaded only with the model
    from numpy.typing import NDArray

    from mailrouter.classify.encoder import Dense
    from mailrouter.classify.features import Grams, Located
    from mailrouter.classify.model import Model, Scores
    from mailrouter.classify.similar import Index, Stems, Telling

PROMISE = 0.98
SHOWN = 5  # candidates in a verdict
_UNITS_FIRST = 3  # the first so many candidates lead to different units
_BATCH = 256  # texts scored at a time, so that thousands of lines need no more memory than these
_FOREIGN = 0.35  # factor on the probability of a mail in a language that hardly any training mail has
_LEARNT = frozenset(["sv", "en"])  # languages with training mails enough that probabilities hold, by measurement
_ELSEWHERE = "grannkommun"  # a matter in another municipality has no district of ours
_WORDS_SHOWN = 4
_GREETING = """
    hejsan hallå tjena tack vänliga hälsning hälsningar fråga frågor svar svara snarast snälla hjälp hjälpa ring ringa
    mejla kontakta ärende ärendet undrar behöver kunna vänligen test hello thanks question please
"""
_EMPTY = frozenset(_GREETING.split())


class Classifier:
    """Suggests area, unit, kind, district and flags. Holds nothing but what was read at the start."""

    def __init__(
        self,
        organisation: Organisation,
        rules: Rules,
        model: "Model",
        promise: float = PROMISE,
        dense: "Dense | None" = None,
    ) -> None:
        """``dense`` is the second opinion of an encoder, where the operator has one."""
        self.organisation = organisation
        self.rules = rules
        self.model = model = model if dense is None else dense.calibrate(model)
        self.dense = dense
        self.promise = promise  # of what is called sure, at least this share goes to the right unit
        self._threshold = model.card.threshold(promise)
        second = f", kodare {dense.by}" if dense is not None else ""
        self.by = f"regler {rules.digest}{second}, modell {model.card.version}"

    def classify(self, queries: Sequence[Query], on: date, earlier: "Index | None" = None) -> list[Verdict]:
        """One verdict a query, in their order; ``on`` is the day whose organisation answers.

        ``earlier`` are confirmed cases, of which the most alike are named as reasons.
        """
        verdicts: list[Verdict] = []
        for start in range(0, len(queries), _BATCH):
            verdicts += self._batch(queries[start : start + _BATCH], on, earlier)
        return verdicts

    def with_model(self, model: "Model", dense: "Dense | None") -> "Classifier":
        """The same city and rules with another model."""
        return Classifier(self.organisation, self.rules, model, self.promise, dense)

    def stems(self, query: Query) -> "Stems":
        """What a mail is known again by, as a confirmed case of which later mails are told."""
        return self._telling.stems(_grams(query))

    @cached_property
    def _telling(self) -> "Telling":
        from mailrouter.classify.similar import Telling  # noqa: PLC0415 (numpy only where a suggestion is made)

        return Telling(self.model)

    def _batch(self, queries: Sequence[Query], on: date, earlier: "Index | None") -> list[Verdict]:
        grams = [_grams(query) for query in queries]
        located = [self.model.locate(found) for found in grams]
        scores = self.model.scores(located)
        if self.dense is not None:
            scores["area"] = scores["area"] + self.dense.scores([_readable(query) for query in queries])
        return [
            self._verdict(
                query, located[row], {head: table[row] for head, table in scores.items()}, on, earlier, grams[row]
            )
            for row, query in enumerate(queries)
        ]

    def _verdict(
        self,
        query: Query,
        located: "Located",
        scores: "dict[str, Scores]",
        on: date,
        earlier: "Index | None",
        grams: "Grams",
    ) -> Verdict:
        text = f"{query.subject}\n{query.body}"
        language = language_of(text)
        finding = self.organisation.district_of(text)
        hits = self.rules.hits(Seen(query, language, finding.district))
        likely, certainty = self._areas(scores["area"], hits, language)
        first = self.model.heads["area"][likely.argmax()]
        district = None if first == _ELSEWHERE else finding.district
        candidates = self._candidates(likely, district, on)
        return Verdict(
            candidates=candidates,
            kind=_best(self.model.heads["kind"], scores["kind"], hits),
            district=district,
            flags=self._flags(scores["flag"], hits),
            language=language,
            reasons=(
                *_rule_reasons(hits),
                *self._words(query, located, first),
                *self._place_reason(finding, candidates[0]),
                *(self._similar(query, grams, likely, earlier) if earlier is not None else ()),
            ),
            abstain=language not in _LEARNT or not _says_something(located.words) or certainty < self._threshold,
            by=self.by,
            unit_probability=round(certainty, 4),
        )

    def _areas(self, scores: "Scores", hits: Sequence[Rule], language: str) -> "tuple[Scores, float]":
        """Probabilities of all areas after the rules' weights, and that of the likeliest area's unit."""
        from mailrouter.classify.model import softmax  # noqa: PLC0415
        from mailrouter.classify.trust import corrected, measures  # noqa: PLC0415

        card, labels = self.model.card, self.model.heads["area"]
        raised = scores / card.temperature
        for rule in hits:
            if rule.then.area is not None:
                raised[labels.index(rule.then.area)] += rule.then.weight
            if rule.then.decision is not None:
                raised[labels.index(rule.then.decision)] += DECISION
        likely = softmax(raised, 1.0)
        measured = measures(likely[None, :], self._families)
        area, unit = float(card.trust.of_area(measured)[0]), float(card.trust.of_unit(measured)[0])
        believed = 1.0 if language in _LEARNT else _FOREIGN
        return (corrected(likely, area) * believed).astype(scores.dtype), max(area, unit) * believed

    def _candidates(self, likely: "Scores", district: str | None, on: date) -> tuple[Candidate, ...]:
        """The likeliest area, then the best areas of the two next likeliest units, then the next areas.

        A person chooses between förvaltningar: three shades of one of them would hide the others.
        """
        labels = self.model.heads["area"]
        ranked = [int(index) for index in likely.argsort()[::-1]]
        families: dict[int, float] = {}
        best: dict[int, int] = {}
        for index in ranked:
            family = int(self._families[index])
            families[family] = families.get(family, 0.0) + float(likely[index])
            best.setdefault(family, index)
        others = sorted(families.keys() - {int(self._families[ranked[0]])}, key=lambda family: -families[family])
        first = [ranked[0], *(best[family] for family in others[: _UNITS_FIRST - 1])]
        chosen = first + [index for index in ranked if index not in first][: SHOWN - len(first)]
        return tuple(
            Candidate(
                area=labels[index],
                unit=self.organisation.unit_for(labels[index], district, on),
                probability=round(float(likely[index]), 4),
            )
            for index in chosen
        )

    @cached_property
    def _families(self) -> "NDArray[Any]":
        """For each area of the model the number of the unit it leads to."""
        from mailrouter.classify.trust import families  # noqa: PLC0415 (numpy only where a suggestion is made)

        return families(self.model.heads["area"], self.organisation)

    def _flags(self, scores: "Scores", hits: Sequence[Rule]) -> tuple[str, ...]:
        """Warnings whose log odds, the rules' weights added, reach the threshold on the card."""
        raised = dict(zip(self.model.heads["flag"], map(float, scores), strict=True))
        for rule in hits:
            if rule.then.flag is not None:
                raised[rule.then.flag] += rule.then.weight
        return tuple(flag for flag in FLAGS if raised[flag] >= self.model.card.thresholds.get(flag, 0.0))

    def _words(self, query: Query, located: "Located", area: str) -> tuple[Reason, ...]:
        """The words that spoke most for the area."""
        column = self.model.heads["area"].index(area)
        weighed = self.model.words_for(located, column)
        named = [(word, weight) for word, weight in weighed if _telling(word)][:_WORDS_SHOWN]
        if not named:
            return ()
        quoted = ", ".join(f"”{word}”" for word, _ in named)
        name = self.organisation.areas[area].name
        text = f"Orden {quoted} talar för {name}." if len(named) > 1 else f"Ordet {quoted} talar för {name}."
        forms = texts.written(texts.readable(query.subject, query.body), {word for word, _ in named})
        return (Reason("word", text, round(sum(weight for _, weight in named), 3), words=forms),)

    def _similar(self, query: Query, grams: "Grams", likely: "Scores", earlier: "Index") -> tuple[Reason, ...]:
        """One reason an earlier case that is about the same: its number, who got it and when."""
        by_area = dict(zip(self.model.heads["area"], map(float, likely), strict=True))
        matches = earlier.like(self._telling.stems(grams), by_area, query.id)
        return tuple(
            Reason(
                "similar",
                f"Liknar ärende {one.case.number}, som gick till {_listed(one.case.units)} {one.case.day.isoformat()}.",
                round(one.likeness, 3),
                cases=(one.case.number,),
            )
            for one in matches
        )

    def _place_reason(self, finding: Finding, first: Candidate) -> tuple[Reason, ...]:
        if not self.organisation.areas[first.area].place_split:
            return ()
        if first.unit is None:
            return (Reason("place", "Stadsområdet avgör vem som svarar, men mejlet säger inte var.", 0.0),)
        place = finding.places[0]
        name = self.organisation.districts[place.district].name
        return (
            Reason("place", f"”{place.written}” ligger i stadsområde {name}.", place.weight, words=(place.written,)),
        )


def _grams(query: Query) -> "Grams":
    from mailrouter.classify import features  # noqa: PLC0415 (numpy only where a suggestion is made)

    return features.grams(_readable(query))


def _readable(query: Query) -> str:
    return texts.readable(query.subject, query.body)


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence has them."""
    *most, last = names
    return f"{', '.join(most)} och {last}" if most else last


def _telling(word: str) -> bool:
    """True for a word that a person would accept as a reason."""
    return len(word) > 2 and not word.isdigit() and word not in SMALL_WORDS


def _says_something(words: Sequence[str]) -> bool:
    """True with two words that more than greet and ask; less than that is never called sure."""
    return len({word for word in words if len(word) > 3 and _telling(word) and word not in _EMPTY}) >= 2


def _best(labels: Sequence[str], scores: "Scores", hits: Sequence[Rule]) -> str:
    raised = dict(zip(labels, map(float, scores), strict=True))
    for rule in hits:
        if rule.then.kind is not None:
            raised[rule.then.kind] += rule.then.weight
    return max(raised, key=raised.__getitem__)


def _rule_reasons(hits: Sequence[Rule]) -> tuple[Reason, ...]:
    """One reason a rule, the heaviest first."""
    weighty = sorted(hits, key=lambda rule: -math.inf if rule.then.decision else -rule.then.weight)
    return tuple(Reason("rule", rule.why, DECISION if rule.then.decision else rule.then.weight) for rule in weighty)
