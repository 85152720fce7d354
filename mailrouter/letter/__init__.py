"""Octets to a ``Letter``. Total: no input raises; oddities become ``defects``."""

from mailrouter.letter.values import Address, Attachment, Failure, Head, Letter, Nature, Report

__all__ = ["Address", "Attachment", "Failure", "Head", "Letter", "Nature", "Report"]
