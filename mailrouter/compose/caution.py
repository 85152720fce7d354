"""Cases that are written about with care: what must be hurried, and what must not be seen in passing.

A subject stands in lists, previews and on telephones, so it tells nothing of a case that few may read.
"""

from mailrouter.tables import Case, Restriction

PROTECTED = "skyddad"  # the flag of protected personal data: nothing of the person is repeated

_QUIET_KINDS = frozenset({"orosanmalan"})
_URGENT_KINDS = frozenset({"begaran-handling", "orosanmalan", "overklagande"})
_URGENT_FLAGS = frozenset({"bradskande", "hot", "overklagande-frist"})


def is_urgent(case: Case) -> bool:
    """True for what somebody should read today (TF 2 kap. 15 §, SoL on reports of concern, FL 43-46 §§)."""
    return case.kind in _URGENT_KINDS or not _URGENT_FLAGS.isdisjoint(case.flags)


def is_protected(case: Case) -> bool:
    """True when not even the place may be repeated, since it may tell where somebody is."""
    return PROTECTED in case.flags or case.restricted == Restriction.SKYDDAD


def is_quiet(case: Case) -> bool:
    """True when our own words repeat neither the person nor what the mail says; both stand in the original alone."""
    return bool(case.restricted) or case.kind in _QUIET_KINDS or is_protected(case)


def subject_of(case: Case) -> str:
    """The ärendemening as mails to a förvaltning show it."""
    if not is_quiet(case):
        return case.subject_public
    return "Skyndsamt ärende, läs genast" if is_urgent(case) else "Ärende med begränsad insyn"
