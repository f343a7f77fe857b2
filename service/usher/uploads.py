"""Documents that people put in, move and take out, in the collections that they may fill.

A document with readers or markings, or without a collection, is the operator's. What a person may neither read nor
change does not exist for them: an uploaded document is known by its collection and path together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from uuid import UUID, uuid4

from usher.authority import Authority, Grant
from usher.core.shelving import collection_name
from usher.core.uploads import document_path
from usher.errors import UserError
from usher.ingest import UPLOADS, Ingest
from usher.ingest_commit import Prepared
from usher.ingest_take_in import Report, Run, Work
from usher.ledger.log import LedgerUnavailable
from usher.ledger.sequencer import Ledger
from usher.ports import ConversionFailed, FileRefused, Files, Intake, LabelChange, Placed, Shelved, Staged
from usher.shelf_rights import collections, may_change, may_fill, why

PATIENCE = 5.0
"""Seconds that somebody waits for their turn."""


class TooLarge(UserError):
    status = 413


class WrongKind(UserError):
    status = 415


class NotConverted(UserError):
    status = 422


class Conflict(UserError):
    status = 409


class Busy(UserError):
    """Others change documents, or have their files converted: one at a time does."""

    status = 409
    retry_after = 10


@dataclass(frozen=True, slots=True)
class Upload:
    """What a person gives: a file of `size` bytes, named by its path, or none to move `document` as it is."""

    collection: str
    path: str | None
    document: UUID | None
    file: Files | None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a document: `outcome` is added, changed, moved, unchanged or deleted."""

    document: UUID
    outcome: str
    version: int
    chunks: int


@dataclass(frozen=True, slots=True)
class _Target:
    """The document that an upload is about, the collection it shall be in, and what there is of it, if anything."""

    collection: str
    path: str
    placed: Placed | None
    shelved: Shelved = field(default_factory=lambda: Shelved(uuid4(), None, 0, None, None, 0, 0, False))

    @property
    def moves(self) -> bool:
        return self.placed is not None and self.placed.requirements != {self.collection}

    @property
    def outcome(self) -> str:
        return "added" if self.placed is None else "moved" if self.moves else "changed"


class Uploads:
    """The use case. One change at a time, and none beside a run of ingest. One file at a time is made ready; that keeps
    nobody from moving or deleting documents. `kinds` are the suffixes that are taken."""

    def __init__(
        self,
        authority: Authority,
        ledger: Ledger,
        intake: Intake,
        ingest: Ingest,
        kinds: Collection[str],
        max_file_size: int,
    ) -> None:
        self._authority = authority
        self._ledger = ledger
        self._intake = intake
        self._turn_of = ingest.turn
        self._committer = ingest.committer
        self._take_in = ingest.take_in
        self._kinds = kinds
        self._max_file_size = max_file_size
        self._preparing = asyncio.Lock()

    async def put(self, grant: Grant, upload: Upload) -> Outcome:
        """Take a file in as a document of the collection, in place of the one that is there or is named.

        1. the right on the collection, before anything else is told
        2. which document it is about, and the right on that, once what others left half done is finished
        3. the new version: converted, split, embedded; others may change documents meanwhile
        4. nobody else may: the document is still as it was, and the version is in the store in nobody's scope
        5. the credential is judged again, for the collection and the document
        6. one change: pending, recorded, in force. It is whole or not at all; what loses readers loses them at once

        Raises `UserError` (here and in `library`), `LedgerUnavailable`, `StoreUnavailable`.
        """
        collection = _collection(upload.collection)
        may_fill(grant, collection)
        self._checked_file(upload)
        async with nullcontext() if upload.file is None else _patiently(self._preparing):
            async with self._turn():
                target = await self._target(grant, upload, collection)
                access_class = await self._committer.access_class(frozenset({collection}))
            prepared = None if upload.file is None else await self._prepared(target, upload.file, access_class)
            if prepared is None and not target.moves:
                return _outcome("unchanged", target.shelved)
            async with self._turn():
                if (await self._target(grant, upload, collection)).placed != target.placed:
                    raise Conflict("document", "has changed meanwhile", "look at it, and send yours again")
                await self._commit(grant, target, prepared, access_class)
        return _outcome(target.outcome, target.shelved if prepared is None else prepared.staged)

    async def delete(self, grant: Grant, document: UUID) -> Outcome:
        """Take a document out, at once and for everybody. One from a folder comes back with the folder's next ingest.

        Raises `NoSuchDocument`, `NotPermitted`, `Busy`, `LedgerUnavailable`, `StoreUnavailable`.
        """
        may_change(grant, await self._intake.placed(document))
        async with self._turn():
            now = await self._authority.again(grant)
            placed = may_change(now, await self._intake.placed(document))
            old = placed.shelved
            change = LabelChange("delete", document, old.version, old.access_class, why(now, collections(placed)))
            await self._committer.label([change], await self._by(now))
            return _outcome("deleted", old)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with _patiently(self._turn_of.here), AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._turn_of.elsewhere(PATIENCE))
            except LedgerUnavailable:
                raise _busy() from None
            await self._committer.recover()
            yield

    def _checked_file(self, upload: Upload) -> None:
        if upload.file is None:
            if upload.document is None:
                raise UserError("file", "is missing", "send a file, or the id of a document to move")
            return
        if upload.size > self._max_file_size:
            problem = f"has {upload.size} bytes, more than {self._max_file_size}"
            raise TooLarge("file", problem, "split it, or ask the operator to raise USHER_MAX_FILE_SIZE")
        if upload.size == 0:
            raise NotConverted("file", "is empty", "choose a file with content")

    async def _target(self, grant: Grant, upload: Upload, collection: str) -> _Target:
        grant = await self._authority.again(grant)
        may_fill(grant, collection)
        if upload.document is None:
            path = self._checked_path(upload.path or "")
            placed = await self._there(path, collection)
        else:
            placed = may_change(grant, await self._intake.placed(upload.document))
            path = placed.path
            if upload.path is not None and document_path_of(upload.path) != path:
                raise UserError("path", "is not the document's", "leave it out: a document keeps its path")
        if placed is None:
            return _Target(collection, path, None)
        target = _Target(collection, path, placed, placed.shelved)
        if target.moves and placed.source == UPLOADS and await self._there(path, collection) is not None:
            raise Conflict("document", "would take another one's place", "replace or delete that one first")
        return target

    def _checked_path(self, text: str) -> str:
        path = document_path_of(text)
        if PurePosixPath(path).suffix.lower() not in self._kinds:
            raise WrongKind("file", "is of a kind that is not taken", f"convert it to {', '.join(sorted(self._kinds))}")
        return path

    async def _there(self, path: str, collection: str) -> Placed | None:
        """The uploaded document of that collection and path."""
        found = await self._intake.placed_at(UPLOADS, path)
        return next((placed for placed in found if placed.requirements == {collection}), None)

    async def _prepared(self, target: _Target, file: Files, access_class: int) -> Prepared | None:
        source = UPLOADS if target.placed is None else target.placed.source
        run = Run(source, "", file, Report(), lambda _: None)
        try:
            return await self._take_in.prepared(run, Work(target.path, access_class, target.shelved))
        except (FileRefused, ConversionFailed) as error:
            problem, _, remedy = str(error).partition("; ")
            raise NotConverted("file", f"cannot be taken in: {problem}", remedy) from error

    async def _commit(self, grant: Grant, target: _Target, prepared: Prepared | None, access_class: int) -> None:
        if prepared is not None:
            await self._committer.stage([prepared])
        try:
            now = await self._authority.again(grant)
            may_fill(now, target.collection)
            if target.placed is not None:
                may_change(now, target.placed)
        except UserError:
            await self._committer.recover()  # forgets what was staged
            raise
        reasons = why(now, {target.collection, *collections(target.placed)})
        document, version = target.shelved.document, target.shelved.version
        change = LabelChange("label", document, version, access_class, reasons)
        if prepared is not None:
            change = replace(change, kind="put", version=prepared.staged.version)
        await self._committer.label([change], await self._by(now))

    async def _by(self, grant: Grant) -> str:
        return f"person:{await self._ledger.pseudonym(grant.credential.user)}"


def _busy() -> Busy:
    return Busy("documents", "are being changed by somebody else", "try again later")


@asynccontextmanager
async def _patiently(lock: asyncio.Lock) -> AsyncIterator[None]:
    """Hold the lock. Raises `Busy` where others hold it for too long."""
    try:
        async with asyncio.timeout(PATIENCE):
            await lock.acquire()
    except TimeoutError:
        raise _busy() from None
    try:
        yield
    finally:
        lock.release()


def _outcome(outcome: str, of: Shelved | Staged) -> Outcome:
    chunks = len(of.chunks) if isinstance(of, Staged) else of.chunks
    return Outcome(of.document, outcome, of.version or 0, chunks)


def _collection(name: str) -> str:
    try:
        return collection_name(name)
    except ValueError as error:
        raise UserError("collection", f"is not a name ({error})", "give a path such as finance/payroll") from error


def document_path_of(text: str) -> str:
    """A plain path. Raises `UserError`."""
    try:
        return document_path(text)
    except ValueError as error:
        raise UserError("path", str(error), "give a relative path such as travel/hotels.md") from error
