"""Changesets of the policy, what a version was made from, and until when a break-glass holds."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "changeset",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("alone", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(length=100), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("documents", sa.JSON(), nullable=False),
        sa.Column("cases", sa.JSON(), nullable=False),
        sa.Column("rollback", sa.Integer(), nullable=True),
        sa.Column("supersedes", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=True),
        sa.Column("pending", sa.JSON(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("outbox", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_comment", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_changeset_digest", "changeset", ["digest"], unique=False)
    op.create_index("ix_changeset_outbox", "changeset", ["outbox"], unique=False)
    op.add_column("policy_version", sa.Column("cases", sa.JSON(), nullable=True))
    op.add_column("policy_version", sa.Column("base", sa.Integer(), nullable=True))
    op.add_column("policy_version", sa.Column("removed", sa.JSON(), nullable=True))
    op.add_column("policy_version", sa.Column("added", sa.JSON(), nullable=True))
    op.add_column("policy_version", sa.Column("by", sa.String(length=100), nullable=True))
    op.add_column("policy_version", sa.Column("changeset", sa.Uuid(), nullable=True))
    op.add_column("policy_version", sa.Column("glass_until", sa.BigInteger(), nullable=True))
    op.add_column("state", sa.Column("fallback_policy", sa.Integer(), nullable=True))
    op.add_column("state", sa.Column("glass_until", sa.BigInteger(), nullable=True))
