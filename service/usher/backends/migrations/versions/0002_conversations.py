"""Conversations, what their exchanges have shown, feedback, and tickets for the WebSocket."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "conversation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user", sa.String(length=300), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed_title", sa.LargeBinary(), nullable=True),
        sa.Column("title_exposures", sa.LargeBinary(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "conversation_user",
        "conversation",
        ["user", "updated_at", "id"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "exchange",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation", sa.Uuid(), nullable=False),
        sa.Column("user", sa.String(length=300), nullable=False),
        sa.Column("parent", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("exposures", sa.LargeBinary(), nullable=False),
        sa.Column("question_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("answer_digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("outcome", sa.String(length=40), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("cited", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("exchange_conversation", "exchange", ["conversation", "id"], unique=False)
    op.create_index("exchange_user", "exchange", ["user", "id"], unique=False)
    op.create_index("exchange_answer", "exchange", ["user", "answer_digest"], unique=False)
    op.create_index("exchange_size", "exchange", ["user", "size"], unique=False)
    op.create_index(
        "exchange_unended",
        "exchange",
        ["id"],
        unique=False,
        sqlite_where=sa.text("outcome IS NULL"),
        postgresql_where=sa.text("outcome IS NULL"),
    )
    op.create_table(
        "feedback",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("exchange", sa.Uuid(), nullable=False),
        sa.Column("user", sa.String(length=300), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(length=8), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_feedback_exchange"), "feedback", ["exchange"], unique=False)
    op.create_table(
        "ws_ticket",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("credential", sa.String(length=32), nullable=False),
        sa.Column("user", sa.String(length=300), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
