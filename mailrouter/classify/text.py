"""A mail's words as the model and the rules see them: cleaned, lower case, and stemmed."""

import re
import unicodedata
from collections.abc import Set as AbstractSet
from functools import lru_cache

import snowballstemmer

LONGEST = 2400  # characters read of a mail; what a citizen wants is said before that, and time is bounded
_ADDRESS = re.compile(r"\S+@\S+|https?://\S+|www\.\S+")
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
_QUOTED = re.compile(r"^\s*>.*$", re.MULTILINE)
_DIGITS = re.compile(r"\d")
_MARKS = str.maketrans("åäöéèüáàëïøæ", "aaoeeuaaeioa")
_stemmer = snowballstemmer.stemmer("swedish")


def readable(subject: str, body: str) -> str:
    """Subject and body as one text without addresses, at most LONGEST characters of it."""
    text = unicodedata.normalize("NFC", f"{subject}\n{body}"[: 2 * LONGEST])
    return _ADDRESS.sub(" ", text)[:LONGEST]


def words(text: str) -> list[str]:
    """Lower-case words in order; digits become 0, since a number's size says more than its value."""
    return _DIGITS.sub("0", " ".join(_WORD.findall(text.lower()))).split(" ") if text else []


def written(text: str, wanted: AbstractSet[str]) -> tuple[str, ...]:
    """The forms in which a text has the wanted ``words``, each once, in the order of the text."""
    forms = (form for form in _WORD.findall(text) if _DIGITS.sub("0", form.lower()) in wanted)
    return tuple(dict.fromkeys(forms))


def fold(text: str) -> str:
    """Without the dots and rings of å, ä and ö, for those who write on a foreign keyboard."""
    return text.translate(_MARKS)


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """The Swedish Snowball stem, so that gatan, gator and gatans meet; folded."""
    return fold(str(_stemmer.stemWord(word)))
