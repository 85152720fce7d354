"""What probabilities mean, and what the promise calls sure."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from mailrouter import classify, config, corpus, learning
from mailrouter.classify import Classifier
from mailrouter.classify.trust import Trust, corrected, measures

TODAY = date(2026, 11, 21)
SETTINGS = config.Classify()
CURVE = ((0.95, 0.8), (0.98, 0.9), (0.995, 0.97))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return classify.load(SETTINGS)


def test_measures_of_doubt() -> None:
    """The likeliest area, all areas of its unit together, and the distance to the second are measured."""
    found = measures(np.array([[0.5, 0.3, 0.2]]), np.array([0, 1, 0]))[0]
    assert found == pytest.approx([0.0, np.log(0.7 / 0.3), np.log(0.5 / 0.3)])


def test_a_corrected_probability_stays_the_largest() -> None:
    """What the first loses the others gain in proportion, and none overtakes it."""
    assert corrected(np.array([0.1, 0.8, 0.1]), 0.6) == pytest.approx([0.2, 0.6, 0.2])
    assert corrected(np.array([0.45, 0.55]), 0.3) == pytest.approx([0.3, 0.3])


def test_trust_is_learnt_from_what_held() -> None:
    """Answers that were right half as often as stated are stated with half the confidence afterwards."""
    random = np.random.default_rng(1)
    measured = np.stack([random.normal(1, 1, 4000)] * 3, axis=1)
    right = random.random(4000) < 1 / (1 + np.exp(-(measured[:, 0] - 1)))
    trust = learning.fit_trust(measured, right, right)
    assert learning.calibration_error(trust.of_area(measured), right) < 0.03
    assert learning.calibration_error(trust.of_unit(measured), right) < 0.03
    assert learning.calibration_error(Trust().of_area(measured), right) > 0.1


def test_trust_without_contradiction_changes_nothing() -> None:
    """Where every answer was right there is nothing to learn from."""
    measured = np.ones((5, 3))
    assert learning.fit_trust(measured, np.ones(5), np.ones(5)) == Trust()


def test_a_greater_promise_is_never_easier() -> None:
    """The curve rises with the promise, and each promise is kept on the answers it was made from."""
    random = np.random.default_rng(2)
    likely = random.random(3000)
    right = random.random(3000) < likely**0.3
    curve = learning.promise_curve(likely, right)
    thresholds = [threshold for _, threshold in curve]
    assert thresholds == sorted(thresholds)
    for promise, threshold in curve[:6]:
        assert right[likely >= threshold].mean() >= promise - 0.01


def test_the_threshold_of_a_promise_between(classifier: Classifier) -> None:
    """A promise between two of the curve takes the stricter one; one that nothing held calls nothing sure."""
    card = replace(classifier.model.card, curve=CURVE)
    assert card.threshold(0.98) == 0.9
    assert card.threshold(0.979) == 0.9
    assert card.threshold(0.981) == 0.97
    assert card.threshold(0.996) > 1


def test_the_operator_chooses_the_promise(classifier: Classifier) -> None:
    """A stricter promise calls fewer mails sure and a looser one more, with the same model."""
    queries = [row.query for row in corpus.validation(SETTINGS.models / "corpus")]
    learnt = replace(classifier.model, card=replace(classifier.model.card, curve=CURVE))

    def sure(promise: float) -> set[str]:
        chosen = Classifier(classifier.organisation, classifier.rules, learnt, promise=promise)
        return {
            query.id for query, one in zip(queries, chosen.classify(queries, TODAY), strict=True) if not one.abstain
        }

    loose, usual, strict = sure(0.95), sure(0.98), sure(0.995)
    assert strict < usual < loose
    assert classify.load(SETTINGS.model_copy(update={"promise": 0.95})).promise == 0.95


def test_a_unit_is_at_least_as_sure_as_its_area(classifier: Classifier) -> None:
    """Several areas lead to one unit, so the unit is right whenever the area is."""
    queries = [row.query for row in corpus.validation(SETTINGS.models / "corpus")]
    for one in classifier.classify(queries, TODAY):
        assert one.probability <= one.unit_probability + 1e-4


def test_calibration_error() -> None:
    """The error is the distance between what was said and what was so, in bins of either kind."""
    likely = np.array([0.95] * 10 + [0.15] * 10)
    right = np.array([True] * 10 + [False] * 10)
    assert learning.calibration_error(likely, right) == pytest.approx(0.1)
    assert learning.calibration_error(likely, right, bins=2, equal_size=True) == pytest.approx(0.1)
    assert learning.calibration_error(likely, ~right) == pytest.approx(0.9)


def test_what_chance_alone_would_give() -> None:
    """Few answers show an error even when every probability is true; many show next to none."""
    assert learning.chance_error(np.full(50, 0.6)) > 0.03
    assert learning.chance_error(np.full(20_000, 0.6)) < 0.01


@pytest.mark.parametrize("content", [{"area": [1, 2]}, {"area": "abcd"}, {"rumour": [1, 2, 3, 4]}])
def test_a_card_with_odd_trust_is_refused(content: dict[str, object]) -> None:
    """A card whose calibration is not eight numbers is no card."""
    with pytest.raises((TypeError, ValueError)):
        Trust.from_json(content)  # type: ignore[arg-type]  # what a damaged file might hold
