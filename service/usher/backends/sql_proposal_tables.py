"""The table of what waits for somebody's approval, or was done without one. It names nobody."""

from __future__ import annotations

import sqlalchemy as sa

from usher.backends.sql_tables import Instant, tables

_UNDONE = sa.text("done_at IS NULL")

proposal = sa.Table(
    "proposal",
    tables,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("alone", sa.Boolean, nullable=False),
    sa.Column("parts", sa.JSON, nullable=False),
    sa.Column("subject", sa.String(36), index=True),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("state", sa.JSON(none_as_null=True)),
    sa.Column("pending", sa.JSON(none_as_null=True)),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("outbox", sa.BigInteger),
    sa.Column("wrapped_key", sa.LargeBinary),
    sa.Column("sealed_reason", sa.LargeBinary),
    sa.Column("counts", sa.JSON(none_as_null=True)),
    sa.Column("done_at", Instant),
    sa.Index("proposal_undone", "created_at", sqlite_where=_UNDONE, postgresql_where=_UNDONE),
)
"""A proposal, or (`alone`) a break-glass: what is to be done (`parts`: ids, numbers and rule ids), about whom
(`subject`, a pseudonym), and how it stands (`state`), people by pseudonym. `pending` is its next state while the change
of row `outbox` waits for its event; each state is stored only over the `revision` that it was decided on. The typed
reason is sealed under a key of its own. `counts` say what was done for it, `done_at` is set when nothing remains."""
