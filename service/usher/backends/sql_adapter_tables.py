"""The tables of the registry of adapters. They name nobody: people stand in them by pseudonym."""

from __future__ import annotations

import sqlalchemy as sa

from usher.backends.sql_tables import Instant, tables

adapter = sa.Table(
    "adapter",
    tables,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(40), nullable=False),
    sa.Column("manifest", sa.LargeBinary, nullable=False),
    sa.Column("lineage", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("state", sa.JSON(none_as_null=True)),
    sa.Column("stands", sa.String(12), index=True),
    sa.Column("pending", sa.JSON(none_as_null=True)),
    sa.Column("next", sa.String(12)),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("outbox", sa.BigInteger, index=True),
    sa.Column("finished", sa.BigInteger),
)
"""`id` is the digest of its identity, which `manifest` is (without a gate). `state` is how it stands by the ledger
(`stands` says it in a word); `pending` and `next` are the newest change on its way, that of row `outbox`;
`finished` is the newest that is in force, so that one which was carried late takes nothing back."""

adapter_document = sa.Table(
    "adapter_document",
    tables,
    sa.Column("adapter", sa.String(64), primary_key=True),
    sa.Column("document", sa.Uuid, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("access_class", sa.Integer, nullable=False),
    sa.Index("adapter_document_document", "document"),
)
"""Which adapters learned a document; `access_class` is the one that it had then."""

adapter_subject = sa.Table(
    "adapter_subject",
    tables,
    sa.Column("adapter", sa.String(64), primary_key=True),
    sa.Column("subject", sa.String(200), primary_key=True),
)
"""Whose exchanges an adapter learned from, by pseudonym."""
