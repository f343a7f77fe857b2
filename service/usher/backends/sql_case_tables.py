"""The tables of reviewers' cases."""

from __future__ import annotations

import sqlalchemy as sa

from usher.backends.sql_tables import Instant, tables

audit_case = sa.Table(
    "audit_case",
    tables,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("wrapped_key", sa.LargeBinary),
)
"""`wrapped_key` is the key of what was typed, wrapped by the key ring; null once that was erased."""

case_step = sa.Table(
    "case_step",
    tables,
    sa.Column("case", sa.Uuid, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("op", sa.String(8), nullable=False),
    sa.Column("by", sa.String(100), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("exchanges", sa.JSON, nullable=False),
    sa.Column("subjects", sa.JSON, nullable=False),
    sa.Column("review", sa.String(16)),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("active", sa.Boolean, nullable=False),
)
"""`by` is a pseudonym or the operator, `exchanges` are audit ids, `subjects` whose they are, by pseudonym; `active`
once the step stands in the ledger. The key makes that of two steps upon the same version one is refused."""
