"""What a mail is about: suggestions from rules and a model. Importing this loads neither numpy nor scikit-learn.

``load`` reads organisation, rules and model once; the Classifier it returns is pure after that.
"""

from mailrouter import config, organisation
from mailrouter.classify.classifier import Classifier
from mailrouter.classify.lines import read_queries, suggest_lines
from mailrouter.classify.values import Query
from mailrouter.letter.values import Letter, Nature

__all__ = ["Classifier", "Query", "load", "query_of", "read_queries", "suggest_lines"]

_HUMAN = {Nature.HUMAN, Nature.FORM}


def load(settings: config.Classify, version: str | None = None) -> Classifier:
    """Read everything a suggestion needs; ``version`` chooses another model than the one in use.

    Raises OrganisationError, RuleError, ModelError or EncoderError with sentences that name file and fault.
    """
    from mailrouter.classify import encoder, model, rules  # noqa: PLC0415 (numpy only where a suggestion is made)

    city = organisation.load(settings.organisation)
    known = rules.load(settings.rules, city)
    found = model.load(settings.models, version)
    return Classifier(city, known, found, settings.promise, encoder.dense_of(settings.models, found.card.version))


def query_of(letter: Letter, key: str = "") -> Query:
    """What of a letter the suggestion may look at."""
    return Query(
        id=key or letter.message_id,
        subject=letter.subject,
        body=letter.text,
        sender=letter.sender.address,
        fields=letter.fields,
        automatic=letter.nature not in _HUMAN,
    )
