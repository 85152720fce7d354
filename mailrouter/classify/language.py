"""The language of a mail. Most are plainly Swedish, which a few small words show; a library judges the rest."""

from functools import cache

from mailrouter.classify import text as texts

# The languages most spoken in the city; a label outside them would be a guess.
CITY = "sv en fi ar so fa ku bs hr sr pl tr es uk ru sq am ro de".split()  # noqa: SIM905 (reads better than a list)
_ONE_LANGUAGE = {"hr": "bs", "sr": "bs"}  # one interpreter serves them; written apart by chance
_SMALL = """
    och att det är som på jag inte har för med till av ett den vi ni från kan om när men så var vill min mitt hej
    ska vår er där eller mig tack nu hur sig finns varit bara hos utan blir over fran nar ar pa for
"""
SMALL_WORDS = frozenset(_SMALL.split())  # those that Swedish text is full of and that say nothing of the matter
_PLAINLY = 0.12  # share of Swedish small words above which nothing else comes near
_SHORTEST = 4  # words; less says nothing


def language_of(text: str) -> str:
    """ISO 639-1 code; "sv" for what is too short to tell."""
    words = texts.words(text)
    if len(words) < _SHORTEST:
        return "sv" if text.isascii() or not _foreign_script(text) else _judged(text)
    if sum(word in SMALL_WORDS for word in words) >= _PLAINLY * len(words):
        return "sv"
    return _judged(text)


def _foreign_script(text: str) -> bool:
    return any(letter.isalpha() and ord(letter) > 0x24F for letter in text)


def _judged(text: str) -> str:
    found = str(_identifier()(text[:600])[0])
    return _ONE_LANGUAGE.get(found, found)


@cache
def _identifier():  # type: ignore[no-untyped-def]  # py3langid has no types
    """Loaded at the first mail that is not plainly Swedish, since it takes half a second."""
    import py3langid  # noqa: PLC0415

    py3langid.set_languages(CITY)
    return py3langid.classify
