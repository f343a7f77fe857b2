"""An export as it is made: read, packed and recorded in pages, each behind the reviewer's right of that instant."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from usher.audit.export_choice import Choice, Chosen
from usher.audit.export_pack import Pack, names_file
from usher.audit.proof import Contradiction, ProofLog
from usher.audit.review import StoredEvents
from usher.audit.reviewers import Reviewer, Reviewers
from usher.authority import Clock
from usher.core.csv_safe import COLUMNS, USER, texts
from usher.core.reach import Reach
from usher.ledger.log import LogFailed, StoredCheckpoint, StoredEvent
from usher.ledger.manifest import FORMAT, Multiproof, sign_manifest
from usher.ledger.proofs import Prover
from usher.ledger.record import Entry, EventType
from usher.ledger.sealing import SealBroken
from usher.ledger.sequencer import Ledger
from usher.ledger.verify.notes import BadNote, key_of, read_note
from usher.ports import Documents
from usher.ports.audit_index import DocumentNames
from usher.retrieve import who
from usher.viewing import NotPermitted
from usher_policy.vocabulary import Action

BATCH = 500
"""Events read at once; between two batches the reviewer's right is judged again."""
_log = structlog.stdlib.get_logger("usher.audit.export")


class ExportLog(ProofLog, StoredEvents, Protocol):
    """The log's own reads."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What exports are made with."""

    log: ExportLog
    ledger: Ledger
    reviewers: Reviewers
    names: DocumentNames
    documents: Documents
    signing_key: Ed25519PrivateKey
    prover: Prover
    clock: Clock


@dataclass(frozen=True, slots=True)
class Plan:
    """One export: who gets it, by which rights and with which reach (`whole`: the log's); its query as the manifest
    says it; the checkpoint that it is proven against, and the proof that this continues the one of the size `held`;
    the numbers of the events that it looks at."""

    reviewer: Reviewer
    actions: tuple[Action, ...]
    reach: Reach
    whole: bool
    query: Mapping[str, Any]
    table: bool
    checkpoint: StoredCheckpoint
    held: int | None
    consistency: Sequence[bytes]
    first: int
    last: int

    @property
    def origin(self) -> str:
        return self.checkpoint.note.partition("\n")[0]

    def choice(self) -> Choice:
        names = [self.query[name] for name in ("document", "pseudonym") if self.query[name] is not None]
        return Choice(self.query["types"], names, None if self.whole else self.reach)


class Export:
    """Made by a plan. `chunks` gives it, once."""

    def __init__(self, parts: Parts, plan: Plan) -> None:
        self._parts, self.plan = parts, plan
        self._people: dict[str, str] = {}
        self._documents: set[UUID] = set()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Its bytes, as a ZIP. What was made is durable in the record, by the manifest's digest, before the manifest
        and its signature are given; whoever loses the right meanwhile gets no further.

        Raises `NotPermitted`, `LogFailed`, `LedgerUnavailable`, `Contradiction`.
        """
        plan, size = self.plan, self.plan.checkpoint.size
        proof = Multiproof(await asyncio.to_thread(self._parts.prover.over, size), size)
        pack = Pack(proof, table=plan.table, names=plan.reviewer.names)
        try:
            async with aclosing(self._batches()) as batches:
                async for chosen in batches:
                    await self._note_names(chosen)
                    yield await asyncio.to_thread(pack.put, chosen, self._people)
            self._check_root(await asyncio.to_thread(pack.proven))
            for part in pack.rest(await self._names_file() if plan.reviewer.names else None):
                yield part
            manifest = self._manifest(pack)
            await self._again()
            await self._record(pack.count, manifest)
            yield pack.end(manifest, sign_manifest(plan.origin, manifest, self._parts.signing_key))
        finally:
            pack.close()

    async def _batches(self) -> AsyncGenerator[list[Chosen], None]:
        choice, firsts = self.plan.choice(), range(self.plan.first, self.plan.last + 1, BATCH)
        for first in firsts if choice.needs_hearing else ():
            await self._hide(choice, first)
            await asyncio.to_thread(lambda at: choice.hear(self._stored(at)), first)
        for first in firsts:
            await self._hide(choice, first)
            chosen = await asyncio.to_thread(lambda at: list(choice.of(self._stored(at))), first)
            await self._again()
            yield chosen

    async def _hide(self, choice: Choice, first: int) -> None:
        """Take out of the choice what has left the reviewer's reach since it was shown."""
        if self.plan.whole:
            return
        unknown = await asyncio.to_thread(lambda: choice.unknown(self._stored(first)))
        classes = await self._parts.documents.current_classes(sorted(_uuids(unknown)))
        reach = self.plan.reach
        near = {str(document) for document, found in classes.items() if found and reach.classes.issuperset(found)}
        choice.hide(unknown - near)

    def _stored(self, first: int) -> list[StoredEvent]:
        last = min(first + BATCH - 1, self.plan.last)
        found = self._parts.log.stored(first, last)
        if [one.number for one in found] != list(range(first, last + 1)):
            raise LogFailed("events are missing; run `usher audit verify`")
        return found

    async def _again(self) -> None:
        """Raises `NotPermitted` where the reviewer's reach is less than what the export was begun with."""
        now = await self._parts.reviewers.again(self.plan.reviewer, *self.plan.actions)
        if now & self.plan.reach != self.plan.reach:
            raise NotPermitted("key", "may no longer do all that this export takes", "ask for a new one")

    def _check_root(self, root: bytes) -> None:
        """What is stored leads to what was signed; otherwise nothing more is signed here. Raises `Contradiction`."""
        checkpoint, origin = self.plan.checkpoint, self.plan.origin
        try:
            signed = read_note(checkpoint.note, origin, key_of(checkpoint.key, origin), "checkpoint").root
        except BadNote:
            signed = b""
        if signed != root:
            self._parts.prover.forget()
            _log.error("export_contradicts_checkpoint", size=checkpoint.size)
            raise Contradiction("export", "would contradict the log's checkpoint", "run `usher audit verify`")

    async def _note_names(self, chosen: Sequence[Chosen]) -> None:
        """People's names by pseudonym, and the documents to be named, where names were asked for."""
        for one in chosen if self.plan.reviewer.names else ():
            pseudonym = (one.event.get("who") or {}).get("pseudonym")
            if pseudonym is not None and pseudonym not in self._people:
                self._people[pseudonym] = await self._user(pseudonym)
            self._documents.update(_uuids(texts(one.event, COLUMNS["documents"])))

    async def _user(self, pseudonym: str) -> str:
        """Empty for one whose name can be opened no more."""
        try:
            return await self._parts.ledger.subjects.name_of(pseudonym) or ""
        except SealBroken:
            return ""

    async def _names_file(self) -> bytes:
        named = await self._parts.names.named(sorted(self._documents))
        documents = {
            str(ident): {"source": name.source, "path": name.path, "title": name.title} for ident, name in named.items()
        }
        return names_file(self._people, documents)

    def _manifest(self, pack: Pack) -> bytes:
        plan, names = self.plan, self.plan.reviewer.names
        columns = {**COLUMNS, **({USER: []} if names else {})}
        consistency = {"size": plan.held, "hashes": [base64.b64encode(node).decode() for node in plan.consistency]}
        body = {
            "format": FORMAT,
            "origin": plan.origin,
            "time": self._parts.clock().isoformat(timespec="seconds"),
            "query": plan.query,
            "count": pack.count,
            "first": pack.first or None,
            "last": pack.last or None,
            "cut": not plan.whole,
            "checkpoint": plan.checkpoint.note,
            "key": plan.checkpoint.key,
            "consistency": None if plan.held is None else consistency,
            "columns": columns if plan.table else None,
            "files": pack.files(),
        }
        return json.dumps(body, indent=1).encode()

    async def _record(self, count: int, manifest: bytes) -> None:
        reviewer, ledger = self.plan.reviewer, self._parts.ledger
        grant = reviewer.grant
        by = None if grant is None else who(grant, await ledger.pseudonym(grant.credential.user))
        digest = hashlib.sha256(manifest).hexdigest()
        made = {"count": count, "manifest": digest, "checkpoint_size": self.plan.checkpoint.size}
        body = {"actor": reviewer.actor, "question": "exported", **made, "names": reviewer.names}
        await ledger.append([Entry(EventType.AUDIT_READ, who=by, body=body)])


def _uuids(found: Iterable[str]) -> Iterable[UUID]:
    for text in found:
        try:
            yield UUID(text)
        except ValueError:
            continue
