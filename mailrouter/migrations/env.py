"""Alembic's entry: runs the migrations on the connection that ``store.migrate`` hands over."""

from alembic import context
from sqlmodel import SQLModel

from mailrouter import tables

assert tables.Case.metadata is SQLModel.metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=SQLModel.metadata, render_as_batch=True, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
