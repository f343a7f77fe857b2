"""Alembic's entry: run the migrations on the connection that `backends.sql.migrate` hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
