"""What desk, way back and other programs need: undo, pauses, restrictions, answers, links, clients, webhooks."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml
from alembic import op

from mailrouter import search
from mailrouter.tables import UtcDateTime

revision = "0002"
down_revision = "0001"


def _columns() -> dict[str, list[sa.Column[Any]]]:
    """Columns are added one by one, never by a table made anew: SQLite would lose the rows that point to it."""
    return {
        "register_case": [
            sa.Column("restricted", sa.String(), nullable=False, server_default=""),
            sa.Column("contact", sa.Text(), nullable=False, server_default=""),
            sa.Column("answered_at", UtcDateTime(), nullable=True),
            sa.Column("closed_as", sa.String(), nullable=False, server_default=""),
        ],
        "assignment": [
            sa.Column("paused_at", UtcDateTime(), nullable=True),
            sa.Column("pause_reason", sa.Text(), nullable=False, server_default=""),
            sa.Column("paused_days", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("climbed_at", UtcDateTime(), nullable=True),
        ],
        "dispatch": [
            sa.Column("text", sa.Text(), nullable=False, server_default=""),
            sa.Column("detail", sa.JSON(), nullable=False, server_default="{}"),
        ],
        "attempt": [sa.Column("channel", sa.String(), nullable=False, server_default="")],
        "desk_user": [
            sa.Column("clearances", sa.JSON(), nullable=False, server_default="[]"),
            sa.Column("subject", sa.String(), nullable=False, server_default=""),
        ],
    }


def upgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    op.create_index("ix_dispatch_recipient", "dispatch", ["recipient", "created_at"])
    op.drop_index("ix_case_state", "register_case")
    op.create_index("ix_case_state", "register_case", ["state", "id", "restricted"])
    op.create_index(
        "ix_case_restricted",
        "register_case",
        ["id"],
        postgresql_where=sa.text("restricted <> ''"),
        sqlite_where=sa.text("restricted <> ''"),
    )
    op.create_index("ix_case_contact", "register_case", ["contact", "id"])
    op.create_table(
        "digest",
        sa.Column("recipient", sa.String(), primary_key=True),
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "login_try",
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
    )
    op.create_index("ix_login_try_since", "login_try", ["since"])
    op.create_table(
        "presence",
        sa.Column("case_id", sa.Integer(), sa.ForeignKey("register_case.id"), primary_key=True),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("desk_user.id"), primary_key=True),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "case_link",
        sa.Column("case_id", sa.Integer(), sa.ForeignKey("register_case.id"), primary_key=True),
        sa.Column("earlier_id", sa.Integer(), sa.ForeignKey("register_case.id"), primary_key=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
    )
    op.create_index("ix_case_link_earlier", "case_link", ["earlier_id"])
    templates = op.create_table(
        "answer_template",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("title", sa.String(), nullable=False, unique=True),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
    )
    op.bulk_insert(templates, _templates())
    op.create_table(
        "api_client",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False, unique=True),
        sa.Column("token_hash", sa.String(), nullable=False, unique=True),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
    )
    op.create_table(
        "link_key",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "webhook",
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("leased_until", UtcDateTime(), nullable=True),
        sa.Column("leased_by", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False, unique=True),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_event_id", sa.Integer(), nullable=False),
        sa.Column("last_status", sa.Text(), nullable=False),
    )
    _index("ix_case_not_a_case", "register_case", ["closed_at", "id"], "closed_as = 'ej-arende'")
    _index("ix_event_actor", "event", ["actor", "id"], "actor <> 'mailrouter'")
    _note_why_closed()
    _note_when_answered()
    op.create_index("ix_case_arrived", "register_case", ["arrived_on"])
    waiting, by = sa.text("state IN ('sending', 'delivered')"), ["unit", "answer_due", "case_id"]
    op.create_index("ix_assignment_waiting", "assignment", by, postgresql_where=waiting, sqlite_where=waiting)
    confirmed = sa.text("kind = 'confirmed'")
    op.create_index("ix_event_confirmed", "event", ["at"], postgresql_where=confirmed, sqlite_where=confirmed)
    search.create(op.get_bind())


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    """An index of some rows only."""
    op.create_index(name, table, columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))


def _note_why_closed() -> None:
    """The reason of every closed case, from its history."""
    reason = "json_extract(detail, '$.reason')" if op.get_bind().dialect.name == "sqlite" else "detail ->> 'reason'"
    op.execute(
        "UPDATE register_case SET closed_as = coalesce((SELECT " + reason + " FROM event "  # noqa: S608 (our own words)
        "WHERE event.case_id = register_case.id AND event.kind = 'closed' ORDER BY sequence DESC LIMIT 1), '') "
        "WHERE state = 'closed'"
    )


def _note_when_answered() -> None:
    """When every case that nobody waits for any more was answered, from its history: the first time since it opened."""
    reason = "json_extract(detail, '$.reason')" if op.get_bind().dialect.name == "sqlite" else "detail ->> 'reason'"
    op.execute(
        "UPDATE register_case SET answered_at = (SELECT min(at) FROM event "  # noqa: S608 (our own words)
        "WHERE event.case_id = register_case.id AND (event.kind = 'answered' "
        "OR (event.kind = 'closed' AND " + reason + " <> 'ej-arende')) AND sequence > coalesce((SELECT max(sequence) "
        "FROM event AS opened WHERE opened.case_id = register_case.id "
        "AND opened.kind IN ('reopened', 'delivery-failed', 'returned')), 0)) WHERE state IN ('answered', 'closed')"
    )


def _templates() -> list[dict[str, Any]]:
    """The answers that a new installation begins with."""
    listed = yaml.safe_load((Path(__file__).parents[1] / "answer_templates.yaml").read_text(encoding="utf-8"))
    stamp = {"active": True, "changed_at": datetime.now(UTC), "changed_by": "mailrouter"}
    return [template | stamp for template in listed]


def downgrade() -> None:
    search.drop(op.get_bind())
    op.drop_index("ix_case_arrived", "register_case")
    op.drop_index("ix_assignment_waiting", "assignment")
    op.drop_index("ix_event_confirmed", "event")
    op.drop_index("ix_event_actor", "event")
    op.drop_index("ix_case_not_a_case", "register_case")
    for table in (
        "webhook",
        "link_key",
        "api_client",
        "answer_template",
        "case_link",
        "presence",
        "login_try",
        "digest",
    ):
        op.drop_table(table)
    op.drop_index("ix_dispatch_recipient", "dispatch")
    op.drop_index("ix_case_restricted", "register_case")
    op.drop_index("ix_case_state", "register_case")
    op.create_index("ix_case_state", "register_case", ["state", "id"])
    op.drop_index("ix_case_contact", "register_case")
    for table, columns in _columns().items():
        for column in columns:
            op.drop_column(table, column.name)
