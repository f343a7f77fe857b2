"""The table of changesets of the policy. Outside the rules themselves it names nobody."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from usher.backends.sql_tables import Instant, tables

changeset = sa.Table(
    "changeset",
    tables,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("alone", sa.Boolean, nullable=False),
    sa.Column("by", sa.String(100), nullable=False),
    sa.Column("base", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False, index=True),
    sa.Column("rules", sa.Text, nullable=False),
    sa.Column("documents", sa.JSON, nullable=False),
    sa.Column("cases", sa.JSON, nullable=False),
    sa.Column("rollback", sa.Integer),
    sa.Column("supersedes", sa.Uuid),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("state", sa.JSON(none_as_null=True)),
    sa.Column("pending", sa.JSON(none_as_null=True)),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("outbox", sa.BigInteger, index=True),
    sa.Column("version", sa.Integer),
    sa.Column("wrapped_key", sa.LargeBinary),
    sa.Column("sealed_comment", sa.LargeBinary),
)
"""A changeset against version `base`, or (`alone`) a break-glass: all of its policy (`rules`, `documents`, `cases`),
the `digest` that is approved, how it stands (`state`; `pending` is its next state while the change of row `outbox`
waits for its event), and the `version` that it became. `by` is who made it, a pseudonym or the operator; what they
typed is sealed under a key of its own."""


def comment_aad(item: UUID) -> bytes:
    """What a changeset's key and its typed comment are bound to."""
    return f"usher changeset {item}".encode()


def forget_comments_of(connection: sa.Connection, pseudonym: str) -> None:
    """Take away what somebody typed; what they changed, and how it ended, stays. Why somebody acted alone is kept
    until that was reviewed."""
    c = changeset.c
    for row in connection.execute(sa.select(c.id, c.alone, c.state).where(c.by == pseudonym)).all():
        if not row.alone or (row.state or {}).get("reviewed"):
            gone = sa.update(changeset).where(c.id == row.id)
            connection.execute(gone.values(wrapped_key=None, sealed_comment=None))
