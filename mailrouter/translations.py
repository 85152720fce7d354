"""Catalogues of translated sentences. Message ids ARE the Swedish sentences, so Swedish needs no catalogue.

They are read from their .po files, so that a clone needs no build step. ``mailrouter`` holds what employees
read, ``citizen`` what citizens read.
"""

import gettext
import io
from functools import cache
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALES = Path(__file__).parent / "locale"
SOURCE = "sv"


@cache
def catalogue(domain: str, code: str) -> gettext.NullTranslations:
    """The sentences of ``domain`` in language ``code``; a sentence that nobody has translated stays Swedish."""
    if code == SOURCE:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with (LOCALES / code / "LC_MESSAGES" / f"{domain}.po").open("rb") as source:
        write_mo(compiled, read_po(source, locale=code))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
