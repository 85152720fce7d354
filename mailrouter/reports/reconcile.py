"""The sum that must always hold: received = cases + joined + duplicates + quarantined.

The left side counts the receipts the doors wrote when they acknowledged a mail; the right side counts
cases and mails. They are written by different statements, so a mail that slipped through shows.
"""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from mailrouter.tables import (
    Case,
    CaseState,
    Dispatch,
    DispatchState,
    Disposition,
    Mail,
    Mailbox,
    RawMail,
    Receipt,
)


@dataclass(frozen=True, slots=True)
class Balance:
    """Both sides for one source of mail."""

    source: str
    received: int
    cases: int
    joined: int
    duplicates: int
    quarantined: int

    @property
    def holds(self) -> bool:
        """True when every mail that was acknowledged has its place in the register."""
        return self.received == self.cases + self.joined + self.duplicates + self.quarantined


def balances(session: Session) -> list[Balance]:
    """One balance a source, in the order of their names."""
    received = _count(session, select(Receipt.source, func.count()).group_by(col(Receipt.source)))
    opened = (
        select(Mail.source, func.count(func.distinct(Case.id)))
        .join(Case, col(Case.id) == Mail.case_id)
        .join(RawMail, col(RawMail.mail_id) == Mail.id)
        .where(Mail.disposition == Disposition.CASE)
        .group_by(col(Mail.source))
    )
    cases = _count(session, opened.where(Case.state != CaseState.QUARANTINED))
    quarantined = _count(session, opened.where(Case.state == CaseState.QUARANTINED))
    mails = select(Mail.source, func.count()).group_by(col(Mail.source))
    joined = _count(session, mails.where(Mail.disposition == Disposition.JOINED))
    duplicates = _count(session, mails.where(Mail.disposition == Disposition.DUPLICATE))
    return [
        Balance(
            source,
            received.get(source, 0),
            cases.get(source, 0),
            joined.get(source, 0),
            duplicates.get(source, 0),
            quarantined.get(source, 0),
        )
        for source in sorted({*received, *cases, *joined, *duplicates, *quarantined})
    ]


def reconcile(session: Session) -> dict[str, Any]:
    """The balances, their total, how far each IMAP folder is read, and the outbox, as JSON-ready data."""
    sources = balances(session)
    columns = ("received", "cases", "joined", "duplicates", "quarantined")
    total = {column: sum(getattr(balance, column) for balance in sources) for column in columns}
    mailboxes = session.exec(select(Mailbox).order_by(col(Mailbox.account), col(Mailbox.folder))).all()
    states = select(Dispatch.state, func.count()).group_by(col(Dispatch.state))
    outbox = dict.fromkeys((state.value for state in DispatchState), 0)
    outbox |= {DispatchState(state).value: count for state, count in session.exec(states)}
    return {
        "balanced": all(balance.holds for balance in sources),
        **total,
        "sources": [asdict(balance) | {"balanced": balance.holds} for balance in sources],
        "mailboxes": [mailbox.model_dump(exclude={"id"}) for mailbox in mailboxes],
        "outbox": outbox,
    }


def _count(session: Session, statement: Any) -> dict[str, int]:
    return dict(session.exec(statement).all())
