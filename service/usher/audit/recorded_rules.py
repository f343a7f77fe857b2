"""The rules of retention held against the record: the policy's documents lie in a database that others may write to."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Protocol

import structlog

from usher.audit.review import EventLog, every_after
from usher.core.policy_documents import parse_documents
from usher.core.retention import Retention
from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable, LogFailed
from usher.ledger.record import EventType
from usher.ledger.sequencer import Ledger
from usher.ports import Policies

FILE = "retention.yaml"
_log = structlog.stdlib.get_logger("usher.audit.retention")


class RulesLog(EventLog, Protocol):
    """The log's own reads."""

    def size(self) -> int: ...


class RulesContradict(UserError):
    """The stored rules of retention are not those that were recorded: nothing is let go by them."""

    status = 500

    def __init__(self, version: int) -> None:
        problem = f"of policy version {version} is not in the database as it was recorded: nothing is let go"
        super().__init__(FILE, problem, "put the version's row back from a backup, or apply the policy that you want")


class RecordedRules:
    """By the event of each policy version, which has the digests of its documents. Each event is read once."""

    def __init__(self, log: RulesLog, ledger: Ledger, policies: Policies) -> None:
        self._log, self._ledger, self._policies = log, ledger, policies
        self._digests: dict[int, str | None] = {}
        self._seen = 0
        self._turn = asyncio.Lock()
        self._checked: dict[int, Retention] = {}

    async def retention(self, version: int) -> Retention:
        """The rules of a version, if they are those of the record. What is not is alarmed. Raises `RulesContradict`,
        `LedgerUnavailable`."""
        if version not in self._checked:
            stored = await self._policies.load(version)
            documents = {} if stored is None else stored.documents
            text = documents.get(FILE)
            digest = None if text is None else hashlib.sha256(text.encode()).hexdigest()
            if version and not await self._is_recorded(version, digest):
                _log.critical("retention_rules_contradict_the_record", version=version)
                raise RulesContradict(version)
            self._checked[version] = parse_documents({} if text is None else {FILE: text}).retention
        return self._checked[version]

    async def _is_recorded(self, version: int, digest: str | None) -> bool:
        await self._read()
        if version not in self._digests:
            await self._ledger.checkpoint()  # over its event, which may have waited for its place
            await self._read()
        return version in self._digests and self._digests[version] == digest

    async def _read(self) -> None:
        async with self._turn:
            try:
                await asyncio.to_thread(self._read_on)
            except LogFailed as error:
                raise LedgerUnavailable(str(error)) from error

    def _read_on(self) -> None:
        size = self._log.size()
        for event in every_after(self._log, EventType.POLICY, self._seen):
            version, documents = event.get("version"), event.get("documents")
            if isinstance(version, int) and isinstance(documents, dict):
                self._digests.setdefault(version, documents.get(FILE))
        self._seen = size
