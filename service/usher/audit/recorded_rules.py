"""The rules of retention held against the record: the policy's documents lie in a database that others may write to."""

from __future__ import annotations

import hashlib

import structlog

from usher.audit.recorded_events import GrowingLog, RecordedEvents
from usher.audit.review import Event
from usher.core.policy_documents import parse_documents
from usher.core.retention import Retention
from usher.errors import UserError
from usher.ledger.record import EventType
from usher.ledger.sequencer import Ledger
from usher.ports import Policies

FILE = "retention.yaml"
_log = structlog.stdlib.get_logger("usher.audit.retention")


class RulesContradict(UserError):
    """The stored rules of retention are not those that were recorded: nothing is let go by them."""

    status = 500

    def __init__(self, version: int) -> None:
        problem = f"of policy version {version} is not in the database as it was recorded: nothing is let go"
        super().__init__(FILE, problem, "put the version's row back from a backup, or apply the policy that you want")


class RecordedRules:
    """By the event of each policy version, which has the digests of its documents. Each event is read once."""

    def __init__(self, log: GrowingLog, ledger: Ledger, policies: Policies) -> None:
        self._ledger, self._policies = ledger, policies
        self._digests: dict[int, str | None] = {}
        self._events = RecordedEvents(log, EventType.POLICY, self._take)
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
        await self._events.read()
        if version not in self._digests:
            await self._ledger.checkpoint()  # over its event, which may have waited for its place
            await self._events.read()
        return version in self._digests and self._digests[version] == digest

    def _take(self, event: Event) -> None:
        version, documents = event.get("version"), event.get("documents")
        if isinstance(version, int) and isinstance(documents, dict):
            self._digests.setdefault(version, documents.get(FILE))
