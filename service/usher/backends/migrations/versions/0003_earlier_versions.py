"""The access class that an earlier version of a document had; none is known of those there are, so they stay shut."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("document_version", sa.Column("access_class", sa.Integer(), nullable=True))
