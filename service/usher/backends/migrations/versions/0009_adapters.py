"""The registry of adapters, and what each has learned."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "adapter",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("lineage", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=True),
        sa.Column("stands", sa.String(length=12), nullable=True),
        sa.Column("pending", sa.JSON(), nullable=True),
        sa.Column("next", sa.String(length=12), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("outbox", sa.BigInteger(), nullable=True),
        sa.Column("finished", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_adapter_stands", "adapter", ["stands"], unique=False)
    op.create_index("ix_adapter_outbox", "adapter", ["outbox"], unique=False)
    op.create_table(
        "adapter_document",
        sa.Column("adapter", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("access_class", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("adapter", "document", "version"),
    )
    op.create_index("adapter_document_document", "adapter_document", ["document"], unique=False)
    op.create_table(
        "adapter_subject",
        sa.Column("adapter", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("adapter", "subject"),
    )
