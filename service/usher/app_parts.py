"""The parts of a running server that have a place: databases, the ledger, the store, the model. Each is opened as the
settings say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from usher.backends.audit_index import AuditIndexFile
from usher.backends.audit_index_ledger import in_log
from usher.backends.checkpoint_sink import CheckpointSink
from usher.backends.index_identity import IndexIdentity
from usher.backends.keyring import KeyRing
from usher.backends.known_checkpoint import KnownCheckpoint
from usher.backends.ledger_reads import LedgerReads
from usher.backends.ledger_sql import SqlLog
from usher.backends.sql import Database, migrate
from usher.errors import UserError
from usher.master_key import master_key
from usher.ports import Embedder, Model, Store
from usher.settings import Settings

if TYPE_CHECKING:
    from usher.backends.ledger_pg import PgLog


def open_log(settings: Settings) -> SqlLog | PgLog:
    """The ledger's storage: PostgreSQL where one is named, else a file in the data folder."""
    if settings.ledger_url is None:
        return SqlLog(settings.home / "ledger.sqlite", settings.disk_reserve)
    from usher.backends.ledger_pg import PgLog

    return PgLog(settings.ledger_url.get_secret_value())


def open_audit_index(settings: Settings, log: LedgerReads) -> AuditIndexFile:
    """The reviewers' index of the ledger; its follower makes it."""
    ledger = settings.home / "ledger.sqlite" if settings.ledger_url is None else in_log(log)
    return AuditIndexFile(settings.home / "audit-index.sqlite", ledger, settings.disk_reserve)


def newest_known(settings: Settings) -> str | None:
    """The newest checkpoint that is kept beside the key ring, if one is."""
    return KnownCheckpoint(settings.keyring_path).read()


def open_sinks(settings: Settings) -> tuple[CheckpointSink, ...]:
    """Where each new checkpoint goes: beside the key ring, and to the place that the settings name."""
    elsewhere = () if settings.checkpoint_sink is None else (CheckpointSink.of(settings.checkpoint_sink),)
    return CheckpointSink(KnownCheckpoint(settings.keyring_path).keep), *elsewhere


def open_database(settings: Settings) -> Database:
    """The metadata database, brought up to this release."""
    given = settings.database_url
    url = f"sqlite:///{settings.home / 'usher.sqlite'}" if given is None else given.get_secret_value()
    database = Database(url.replace("postgresql:", "postgresql+psycopg:", 1))
    migrate(database)
    return database


async def open_store(settings: Settings, embedder: Embedder) -> Store:
    """The vectors: a Qdrant server or a shared store where one is named, else Qdrant's engine in a process of its
    own."""
    identity = IndexIdentity.of(embedder)
    if settings.qdrant_url is None:
        from usher.backends.store_edge import EdgeStore

        return await EdgeStore.open(settings.home / "vectors", identity)
    if settings.qdrant_url.startswith("unix:"):
        from usher.backends.store_socket import SocketStore

        return await SocketStore.open(Path(settings.qdrant_url.removeprefix("unix:")), identity)
    from usher.backends.store_qdrant import QdrantStore

    secret = settings.qdrant_api_key
    return await QdrantStore.open(
        settings.qdrant_url, "usher", identity, None if secret is None else secret.get_secret_value()
    )


def open_model(settings: Settings, embedder: Embedder) -> Model:
    """An OpenAI-compatible server where one is named, else the extractive answerer."""
    if settings.model_url is None or settings.model is None:
        from usher.backends.model_extractive import ExtractiveModel

        return ExtractiveModel(embedder)
    from usher.backends.model_vllm import OpenAIModel

    secret = settings.model_api_key
    return OpenAIModel(
        settings.model_url,
        settings.model,
        api_key=None if secret is None else secret.get_secret_value(),
        context_tokens=settings.model_context_tokens,
    )


def _ledger_begun(settings: Settings) -> bool:
    if settings.ledger_url is None:
        return (settings.home / "ledger.sqlite").exists()
    from usher.backends.ledger_pg_prepare import begun

    return begun(settings.ledger_url.get_secret_value())


def open_ring(settings: Settings) -> KeyRing:
    """The key ring beside the data folder, made at the first start only: a lost one is never replaced silently."""
    master = master_key(settings)
    path = settings.keyring_path
    if path.exists():
        return KeyRing.open(path, master)
    if _ledger_begun(settings):
        problem = f"({path}) is missing, and what is recorded was sealed with it"
        raise UserError("USHER_KEYRING", problem, "restore it from your key backup, or set its right path")
    return KeyRing.create(path, master)
