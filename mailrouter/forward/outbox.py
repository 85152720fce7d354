"""The outbox as data: what was to be sent, to whom, and what came of each try."""

from typing import Any

from sqlmodel import Session, col, select

from mailrouter.tables import Attempt, Case, Dispatch


def outbox(session: Session, case_id: int | None = None) -> list[dict[str, Any]]:
    """Every outgoing mail (of one case) with its attempts, oldest first, ready for JSON."""
    attempts: dict[int, list[dict[str, Any]]] = {}
    of_case = (col(Dispatch.case_id) == case_id,) if case_id is not None else ()
    tried = select(Attempt).join(Dispatch, col(Dispatch.id) == Attempt.dispatch_id).where(*of_case)
    for attempt in session.exec(tried.order_by(col(Attempt.id))):
        attempts.setdefault(attempt.dispatch_id, []).append(
            {
                "started_at": attempt.started_at.isoformat(),
                "finished_at": attempt.finished_at.isoformat() if attempt.finished_at else None,
                "outcome": attempt.outcome,
                "reply": attempt.reply,
            }
        )
    statement = select(Dispatch, Case.number).join(Case, col(Case.id) == Dispatch.case_id).where(*of_case)
    return [
        {
            "case": of,
            "kind": dispatch.kind.value,
            "recipient": dispatch.recipient,
            "state": dispatch.state.value,
            "due_at": dispatch.due_at.isoformat() if dispatch.due_at else None,
            "token": dispatch.token,
            "attempts": attempts.get(dispatch.id, []),
        }
        for dispatch, of in session.exec(statement.order_by(col(Dispatch.id)))
    ]
