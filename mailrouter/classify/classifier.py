"""From queries to verdicts: the model's scores, the rules' weights, the place, and the words for why."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from mailrouter.classify import text as texts
from mailrouter.classify.rules import DECISION, Rule, Rules, Seen
from mailrouter.classify.values import FLAGS, Candidate, Query, Reason, Verdict
from mailrouter.gazetteer import Finding
from mailrouter.organisation import Organisation

if TYPE_CHECKING:  # numpy is loaded only with the model
    from mailrouter.classify.model import Model, Scores

_SHOWN = 5  # candidates in a verdict
_BATCH = 256  # texts scored at a time, so that thousands of lines need no more memory than these


class Classifier:
    """Suggests area, unit, kind, district and flags. Holds no state but what was read at the start."""

    def __init__(self, organisation: Organisation, rules: Rules, model: "Model") -> None:
        self.organisation = organisation
        self.rules = rules
        self.model = model
        self.by = f"regler {rules.digest}, modell {model.card.version}"

    def classify(self, queries: Sequence[Query], on: date) -> list[Verdict]:
        """One verdict a query, in their order; ``on`` is the day whose organisation answers."""
        verdicts: list[Verdict] = []
        for start in range(0, len(queries), _BATCH):
            verdicts += self._batch(queries[start : start + _BATCH], on)
        return verdicts

    def _batch(self, queries: Sequence[Query], on: date) -> list[Verdict]:
        from mailrouter.classify import features  # noqa: PLC0415 (numpy only where a suggestion is made)

        grams = [features.grams(texts.readable(query.subject, query.body)) for query in queries]
        scores = self.model.scores(grams)
        return [
            self._verdict(query, {head: table[row] for head, table in scores.items()}, on)
            for row, query in enumerate(queries)
        ]

    def _verdict(self, query: Query, scores: "dict[str, Scores]", on: date) -> Verdict:
        finding = self.organisation.district_of(f"{query.subject}\n{query.body}")
        hits = self.rules.hits(Seen(query, "sv", finding.district))
        candidates = self._candidates(scores["area"], hits, finding, on)
        return Verdict(
            candidates=candidates,
            kind=self._best("kind", scores["kind"], hits),
            district=finding.district,
            flags=self._flags(scores["flag"], hits),
            language="sv",
            reasons=tuple(Reason("rule", rule.why, rule.then.weight) for rule in hits),
            abstain=candidates[0].probability < self.model.card.threshold,
            by=self.by,
        )

    def _candidates(
        self, scores: "Scores", hits: Sequence[Rule], finding: Finding, on: date
    ) -> tuple[Candidate, ...]:
        from mailrouter.classify.model import softmax  # noqa: PLC0415

        labels = self.model.heads["area"]
        raised = scores / self.model.card.temperature
        for rule in hits:
            for area, weight in ((rule.then.area, rule.then.weight), (rule.then.decision, DECISION)):
                if area is not None:
                    raised[labels.index(area)] += weight
        likely = softmax(raised, 1.0)
        return tuple(
            Candidate(
                area=labels[index],
                unit=self.organisation.unit_for(labels[index], finding.district, on),
                probability=round(float(likely[index]), 4),
            )
            for index in likely.argsort()[::-1][:_SHOWN]
        )

    def _best(self, head: str, scores: "Scores", hits: Sequence[Rule]) -> str:
        labels = self.model.heads[head]
        raised = {label: float(score) for label, score in zip(labels, scores, strict=True)}
        for rule in hits:
            if rule.then.kind is not None:
                raised[rule.then.kind] += rule.then.weight
        return max(raised, key=raised.__getitem__)

    def _flags(self, scores: "Scores", hits: Sequence[Rule]) -> tuple[str, ...]:
        labels = self.model.heads["flag"]
        raised = {
            label
            for label, score in zip(labels, scores, strict=True)
            if score >= self.model.card.thresholds.get(label, 0.0)
        }
        raised |= {rule.then.flag for rule in hits if rule.then.flag is not None}
        return tuple(flag for flag in FLAGS if flag in raised)
