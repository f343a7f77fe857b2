"""The tables of legal holds, and of how far what retention has let go is forgotten here too."""

from __future__ import annotations

import sqlalchemy as sa

from usher.backends.sql_tables import Instant, tables

hold = sa.Table(
    "hold",
    tables,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("on", sa.String(20), nullable=False),
    sa.Column("target", sa.String(700), nullable=False),
    sa.Column("since", Instant),
    sa.Column("until", Instant),
    sa.Column("placed_at", Instant, nullable=False),
    sa.Column("release", sa.Uuid),
    sa.Column("release_at", Instant),
    sa.Column("released", sa.Boolean, nullable=False),
)
"""`id` is the proposal's that placed it, `release` the one's that releases it. It binds from its own transaction on,
and until its release stands in the ledger."""

retention = sa.Table(
    "retention",
    tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("ran_at", Instant),
)
"""One row: up to which event of the ledger what was dropped is forgotten here, and when the last run came to its
end."""
