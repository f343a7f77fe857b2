"""Documents one by one: read, convert, split, embed, and hand over in batches for commitment."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid5

from usher.core import chunking, lexical
from usher.ingest_commit import Committer, Prepared
from usher.ports import (
    ConversionFailed,
    Converted,
    Converter,
    Embedder,
    FileRefused,
    Files,
    LabelChange,
    Point,
    Shelved,
    SparseVector,
    Staged,
    StagedChunk,
)

RECIPE = "2"
"""Changes whenever conversion, splitting or what is embedded changes: a document made by another is made anew."""
BATCH_CHUNKS = 192
"""Chunks of one commit: a few seconds of embedding, so that the commit's own time hardly counts."""
BATCH_DOCUMENTS = 64
_NAMESPACE = UUID("0b9e6f3e-6a55-4c7e-9d5b-6a1f4f6c2c11")


@dataclass(slots=True)
class Report:
    """The closing count, and each refused path with its remedy."""

    counts: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, str]] = field(default_factory=list)

    def refuse(self, path: str, problem: str, remedy: str) -> None:
        self.refused.append({"path": path, "problem": problem, "remedy": remedy})

    def as_event(self) -> dict[str, Any]:
        names = ("added", "changed", "relabelled", "unchanged", "deleted", "withdrawn", "empty", "unlisted")
        counts = {name: self.counts[name] for name in (*names, "unsupported", "chunks")}
        return {"event": "report", **counts, "refused": self.refused}


@dataclass(frozen=True, slots=True)
class Work:
    """One document to look at: its path, its requirements' class, and what is on the shelf of it.

    `both` are the requirements of the label in force and of the new one together, where they differ.
    """

    path: str
    access_class: int
    shelved: Shelved | None
    both: frozenset[str] = frozenset()

    @property
    def relabels(self) -> bool:
        """Whether a document that is in shall get another class."""
        old = self.shelved
        return old is not None and old.version is not None and not old.deleted and old.access_class != self.access_class


@dataclass(slots=True)
class Run:
    """One run of ingest: where from, on whose behalf, how far."""

    source: str
    by: str
    folder: Files
    report: Report
    emit: Callable[[dict[str, Any]], None]
    total: int = 0
    done: int = 0

    def progress(self, path: str) -> None:
        self.done += 1
        self.emit({"event": "progress", "done": self.done, "total": self.total, "path": path})


def _read(folder: Files, path: str, limit: int) -> tuple[bytes, str]:
    data = folder.read(path, limit)
    return data, hashlib.sha256(data).hexdigest()


def _first_cause(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first: the rest are its consequences."""
    first: BaseException = failed
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


@dataclass(frozen=True, slots=True)
class _Ready:
    """A version to embed: what the embedder reads of its chunks, their lexical side, its class, what it counts as."""

    staged: Staged
    texts: tuple[str, ...]
    sparse: tuple[SparseVector, ...]
    access_class: int
    counted: str


class TakeIn:
    """New and changed documents into the index, moved labels into force."""

    def __init__(self, embedder: Embedder, converter: Converter, committer: Committer, max_file_size: int) -> None:
        self._embedder = embedder
        self._converter = converter
        self._committer = committer
        self._max_file_size = max_file_size
        self._recipe = f"{RECIPE}:{embedder.precision}:{embedder.model}"[:64]

    async def run(self, run: Run, work: Sequence[Work]) -> None:
        """Move labels; then read and split the next documents while one is embedded, and embed while a batch is
        committed."""
        left = await self._relabel(run, work)
        queue: asyncio.Queue[_Ready | None] = asyncio.Queue(maxsize=4)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._prepare(run, left, queue))
                group.create_task(self._embed_and_commit(run, queue))
        except BaseExceptionGroup as failed:
            raise _first_cause(failed) from None

    async def prepared(self, run: Run, item: Work) -> Prepared | None:
        """One document's next version, for the caller to commit; None if it is unchanged.

        Raises `FileRefused`, `ConversionFailed`.
        """
        ready = await self._look_at(run, item)
        return None if ready is None else await self._embedded(ready)

    async def _relabel(self, run: Run, work: Sequence[Work]) -> list[Work]:
        """Labels that move, before anything is embedded; returns what is left to look at.

        An unchanged text gets its new label. A changed one gets it with its next version: until then the old text has
        the old label and the new one together, so that it leaves those who lose it now, and reaches nobody new.
        """
        left: list[Work] = []
        moved: list[LabelChange] = []
        for item in work:
            old = item.shelved if item.relabels else None
            if old is None or await self._moves_with_text(run, item, old, moved):
                left.append(item)
            else:
                run.progress(item.path)
            if len(moved) >= BATCH_DOCUMENTS:
                await self._committer.label(moved, run.by)
                moved.clear()
        if moved:
            await self._committer.label(moved, run.by)
        return left

    async def _moves_with_text(self, run: Run, item: Work, old: Shelved, moved: list[LabelChange]) -> bool:
        """Whether a new version will bring the new label; the label until then, or for good, is noted in `moved`."""
        try:
            _, digest = await asyncio.to_thread(_read, run.folder, item.path, self._max_file_size)
        except FileRefused as error:
            await self._refuse(run, item, error)
            return False
        changed = (old.digest, old.recipe) != (digest, self._recipe)
        access_class = await self._committer.access_class(item.both) if changed else item.access_class
        if access_class != old.access_class:
            moved.append(LabelChange("label", old.document, old.version, access_class))
        run.report.counts["relabelled"] += not changed
        return changed

    async def _prepare(self, run: Run, work: Sequence[Work], queue: asyncio.Queue[_Ready | None]) -> None:
        for item in work:
            try:
                ready = await self._look_at(run, item)
            except (FileRefused, ConversionFailed) as error:
                await self._refuse(run, item, error)
                ready = None
            if ready is None:
                run.progress(item.path)
            else:
                await queue.put(ready)
        await queue.put(None)

    async def _look_at(self, run: Run, item: Work) -> _Ready | None:
        """The document's new version if there is one."""
        data, digest = await asyncio.to_thread(_read, run.folder, item.path, self._max_file_size)
        old = item.shelved
        if old is None or old.deleted or item.relabels or (old.digest, old.recipe) != (digest, self._recipe):
            converted = await self._converter.convert(data, PurePosixPath(item.path).suffix.lower(), item.path)
            return await asyncio.to_thread(self._ready, run.source, item, converted, digest, len(data))
        run.report.counts["unchanged"] += 1
        return None

    async def _refuse(self, run: Run, item: Work, error: FileRefused | ConversionFailed) -> None:
        """Leave the document out; an earlier version that is in is withdrawn at once."""
        problem, _, remedy = str(error).partition("; ")
        run.report.refuse(item.path, problem, remedy)
        old = item.shelved
        if old is not None and old.version is not None and not old.deleted:
            change = LabelChange("delete", old.document, old.version, old.access_class)
            await self._committer.label([change], run.by)
            run.report.counts["withdrawn"] += 1

    def _ready(self, source: str, item: Work, converted: Converted, digest: str, size: int) -> _Ready:
        """All that can be done before embedding, in one go beside it."""
        staged = self._staged(source, item, converted, digest, size)
        old, title = item.shelved, staged.title
        parts = [(chunk.headings, staged.text[chunk.start : chunk.end]) for chunk in staged.chunks]
        return _Ready(
            staged=staged,
            texts=tuple(chunking.embed_text(title, headings, body) for headings, body in parts),
            sparse=tuple(lexical.document(title, headings, staged.path, body) for headings, body in parts),
            access_class=item.access_class,
            counted="changed" if old and old.version and not old.deleted else "added",
        )

    def _staged(self, source: str, item: Work, converted: Converted, digest: str, size: int) -> Staged:
        old = item.shelved
        document = old.document if old else uuid5(_NAMESPACE, f"{source}\0{item.path}")
        version = old.last_version + 1 if old else 1
        chunks = chunking.split(converted.text, self._embedder.count_tokens, converted.title)
        return Staged(
            document=document,
            source=source,
            path=item.path,
            version=version,
            digest=digest,
            recipe=self._recipe,
            title=converted.title,
            media_type=converted.media_type,
            size=size,
            text=converted.text,
            chunks=tuple(
                StagedChunk(uuid5(document, f"{version}:{c.position}"), c.start, c.end, c.headings) for c in chunks
            ),
        )

    async def _embed_and_commit(self, run: Run, queue: asyncio.Queue[_Ready | None]) -> None:
        batch: list[tuple[Prepared, str]] = []
        committing: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group:
            while (ready := await queue.get()) is not None:
                batch.append((await self._embedded(ready), ready.counted))
                if sum(len(p.points) for p, _ in batch) >= BATCH_CHUNKS or len(batch) >= BATCH_DOCUMENTS:
                    if committing:
                        await committing
                    committing, batch = group.create_task(self._commit(run, batch)), []
            if committing:
                await committing
            if batch:
                await self._commit(run, batch)

    async def _embedded(self, ready: _Ready) -> Prepared:
        staged = ready.staged
        encoded = await self._embedder.encode(ready.texts)
        points = tuple(
            Point(chunk.id, staged.document, 0, one.vector, weights)
            for chunk, one, weights in zip(staged.chunks, encoded, ready.sparse, strict=True)
        )
        chunks = tuple(replace(chunk, tokens=one.tokens) for chunk, one in zip(staged.chunks, encoded, strict=True))
        return Prepared(replace(staged, chunks=chunks), points, ready.access_class)

    async def _commit(self, run: Run, batch: Sequence[tuple[Prepared, str]]) -> None:
        await self._committer.put([prepared for prepared, _ in batch], run.by)
        for prepared, counted in batch:
            run.report.counts[counted] += 1
            run.report.counts["chunks"] += len(prepared.points)
            run.report.counts["empty"] += not prepared.points
            run.progress(prepared.staged.path)
