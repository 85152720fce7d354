"""Octets to a ``Letter``. Total: no input raises; oddities become ``defects``."""

from mailrouter.letter.header import head
from mailrouter.letter.parsing import parse
from mailrouter.letter.values import Address, Attachment, Contact, Failure, Head, Letter, Nature, Report

__all__ = ["Address", "Attachment", "Contact", "Failure", "Head", "Letter", "Nature", "Report", "head", "parse"]
