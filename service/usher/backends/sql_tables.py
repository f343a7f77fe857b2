"""The tables of the metadata database (SQLite or PostgreSQL); `migrations/` makes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, kept as whole microseconds since 1970 so that both databases compare it alike."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


_KEPT, _UNENDED = sa.text("deleted_at IS NULL"), sa.text("outcome IS NULL")

tables = sa.MetaData()

state = sa.Table(
    "state",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("policy_version", sa.Integer, nullable=False),
    sa.Column("pending_policy", sa.Integer),
    sa.Column("label_version", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("fallback_policy", sa.Integer),
    sa.Column("glass_until", Instant),
)
"""One row: what every barrier asks. `pending_policy` is a version whose event is not yet in the ledger; `revision`
counts every change, also of a pending one, that a running exchange must hear of. From `glass_until` on, the version
`fallback_policy` is in force in the place of `policy_version`."""

outbox = sa.Table(
    "outbox",
    tables,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sqlite_autoincrement=True,
)
"""What the ledger must still hear: the row goes in with the change and out when the change is active."""

person = sa.Table(
    "person",
    tables,
    sa.Column("user", sa.String(300).with_variant(sa.String(300, collation="C"), "postgresql"), primary_key=True),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("groups", sa.JSON, nullable=False),
    sa.Column("pending_groups", sa.JSON(none_as_null=True)),
    sa.Column("outbox", sa.BigInteger),
    sa.Column("source", sa.String(32), nullable=False),
    sa.Column("seen_at", Instant, nullable=False),
)
"""The directory. While `pending_groups` is set, by the change of row `outbox`, the old groups and the new must both
allow. People are paged by code points, whatever the database's own collation."""

api_key = sa.Table(
    "api_key",
    tables,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("user", sa.String(300), nullable=False, index=True),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("purpose", sa.String(100)),
    sa.Column("issuer", sa.String(300), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant),
    sa.Column("revoked_at", Instant),
    sa.Column("active", sa.Boolean, nullable=False),
)
"""`digest` is SHA-256 of the secret half; `active` turns true once the issue stands in the ledger."""

policy_version = sa.Table(
    "policy_version",
    tables,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("rules", sa.Text, nullable=False),
    sa.Column("documents", sa.JSON, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("activated_at", Instant),
    sa.Column("cases", sa.JSON),
    sa.Column("base", sa.Integer),
    sa.Column("removed", sa.JSON(none_as_null=True)),
    sa.Column("added", sa.JSON(none_as_null=True)),
    sa.Column("by", sa.String(100)),
    sa.Column("changeset", sa.Uuid),
    sa.Column("glass_until", Instant),
)
"""Each is what was applied, byte for byte. `removed` and `added` are the lines by which its rules differ from those of
version `base`, where they are few. `changeset` is what it was made from, `by` who activated it (a pseudonym or the
operator), `glass_until` the end of a break-glass."""

source = sa.Table(
    "source",
    tables,
    sa.Column("name", sa.String(500), primary_key=True),
    sa.Column("used_acl", sa.Boolean, nullable=False),
    sa.Column("used_rules", sa.Boolean, nullable=False),
    sa.Column("ingested_at", Instant, nullable=False),
)

access_class = sa.Table(
    "access_class",
    tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("requirements", sa.JSON, nullable=False),
)
"""Interned sets of requirements; ids count from 1, 0 is in nobody's scope."""

reader_list = sa.Table(
    "reader_list",
    tables,
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("subjects", sa.JSON, nullable=False),
)

document = sa.Table(
    "document",
    tables,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("source", sa.String(500), nullable=False),
    sa.Column("path", sa.String(2000), nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("access_class", sa.Integer, nullable=False),
    sa.Column("label_version", sa.BigInteger, nullable=False),
    sa.Column("pending", sa.String(8)),
    sa.Column("pending_version", sa.Integer),
    sa.Column("pending_class", sa.Integer),
    sa.Column("outbox", sa.BigInteger),
    sa.Column("carried", sa.Boolean, nullable=False),
    sa.Column("deleted_at", Instant),
    sa.Index("document_source", "source"),
    sa.Index("document_uncarried", "id", sqlite_where=sa.text("carried = 0"), postgresql_where=sa.text("NOT carried")),
)
"""`id` is made from source and path. `version` and `access_class` are the label in force; `pending` (put, label,
delete) the change on its way, that of row `outbox`; `carried` is false from the label's activation until the store
holds it."""

document_version = sa.Table(
    "document_version",
    tables,
    sa.Column("document", sa.Uuid, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("recipe", sa.String(64), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("media_type", sa.String(100), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("chunks", sa.Integer, nullable=False),
    sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
    sa.Column("sealed_text", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("access_class", sa.Integer),
)
"""`digest` is SHA-256 of the file's bytes, `recipe` of how they became chunks (converter, splitter, embedder).
`access_class` is the class that an earlier version had when another took its place, 0 once its document was deleted."""

chunk = sa.Table(
    "chunk",
    tables,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("document", sa.Uuid, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("start", sa.Integer, nullable=False),
    sa.Column("end", sa.Integer, nullable=False),
    sa.Column("sealed_tokens", sa.LargeBinary),
    sa.Index("chunk_document_version", "document", "version"),
)
"""`sealed_tokens` are the token vectors, under the same key as the version's text."""

conversation = sa.Table(
    "conversation",
    tables,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("user", sa.String(300), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("sealed_title", sa.LargeBinary),
    sa.Column("title_exposures", sa.LargeBinary, nullable=False),
    sa.Column("deleted_at", Instant),
    sa.Index("conversation_user", "user", "updated_at", "id", sqlite_where=_KEPT, postgresql_where=_KEPT),
)
"""`title_exposures` are the documents (16 bytes each) that the title may tell of, as `exposures` below."""

exchange = sa.Table(
    "exchange",
    tables,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("conversation", sa.Uuid, nullable=False),
    sa.Column("user", sa.String(300), nullable=False),
    sa.Column("parent", sa.Uuid),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("exposures", sa.LargeBinary, nullable=False),
    sa.Column("question_digest", sa.LargeBinary(32), nullable=False),
    sa.Column("answer_digest", sa.LargeBinary(32)),
    sa.Column("outcome", sa.String(40)),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("cited", sa.LargeBinary, nullable=False),
    sa.Column("dropped_at", Instant),
    sa.Index("exchange_conversation", "conversation", "id"),
    sa.Index("exchange_user", "user", "id"),
    sa.Index("exchange_answer", "user", "answer_digest"),
    sa.Index("exchange_size", "user", "size"),
    sa.Index("exchange_unended", "id", sqlite_where=_UNENDED, postgresql_where=_UNENDED),
)
"""`id` is the audit id, `parent` the exchange before it. No text: questions and answers are sealed in the ledger's
content. The digests are keyed by the person's own key; `outcome` is null while the answer flows;
`size` is of its texts, in bytes; `cited` the passages that the answer cites, packed. Once its texts were dropped, all
of these are empty; `exposures` stay."""

feedback = sa.Table(
    "feedback",
    tables,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("exchange", sa.Uuid, nullable=False, index=True),
    sa.Column("user", sa.String(300), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("verdict", sa.String(8), nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
)
"""`sealed` are the words, under the key of the exchange's conversation; `active` once it stands in the ledger."""

ws_ticket = sa.Table(
    "ws_ticket",
    tables,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("credential", sa.String(32), nullable=False),
    sa.Column("user", sa.String(300), nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
)
"""One-use tickets that open a WebSocket: `digest` is SHA-256 of the ticket."""
