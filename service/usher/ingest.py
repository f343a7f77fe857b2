"""A folder of documents into the index: read, convert, split, embed, and commit in batches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from usher.authority import Authority, Clock, utc_now
from usher.core.shelving import (
    Refused,
    Shelf,
    Shelving,
    ShelvingError,
    collection_name,
    parse_acl,
    parse_rules_yaml,
    shelve,
)
from usher.core.standing import Actor
from usher.errors import UserError
from usher.ingest_commit import Committer, DocumentsTurn, Gone, nobody_learned
from usher.ingest_take_in import Report, Run, TakeIn, Work
from usher.ledger.log import LedgerUnavailable, Room
from usher.outbox import Courier
from usher.ports import (
    BadFile,
    Converter,
    Embedder,
    FileRefused,
    Folder,
    Intake,
    LabelChange,
    Shelved,
    SourceState,
    Store,
)

MASS_DELETE_SHARE = 0.2
UPLOADS = "usher:uploads"
"""The source of what people put in one by one. No run may have its name."""
_TEXT_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """What `usher ingest` was asked. `root` is the folder's real path; `source` defaults to it."""

    root: Path
    source: str | None = None
    sync: bool = False
    collection: str | None = None
    rules: Path | None = None
    acl: Path | None = None
    allow_mass_delete: bool = False

    @property
    def source_name(self) -> str:
        return self.source or str(self.root)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to look at, and what to take out: `withdrawn` is there but no longer permitted in,
    `vanished` is not there."""

    work: Sequence[Work]
    withdrawn: Sequence[Shelved]
    vanished: Sequence[Shelved]


class Ingest:
    """The use case; one run at a time. Whoever changes documents holds `turn`, and uses the same two parts."""

    def __init__(
        self,
        intake: Intake,
        store: Store,
        embedder: Embedder,
        converter: Converter,
        authority: Authority,
        courier: Courier,
        open_folder: Callable[[Path], Folder],
        max_file_size: int,
        room: Callable[[], Room],
        clock: Clock = utc_now,
        gone: Gone = nobody_learned,
    ) -> None:
        self._intake, self._courier = intake, courier
        self._authority = authority
        self._open_folder = open_folder
        self._clock = clock
        self.committer = Committer(intake, store, courier, clock, room, gone)
        self.take_in = TakeIn(embedder, converter, self.committer, max_file_size)
        self.turn = DocumentsTurn(intake.turn)
        self._running = asyncio.Lock()

    async def recover(self) -> None:
        """Finish what an earlier process left half done. Call it before serving. While another server changes
        documents only what is on its way to the record is finished: the rest waits for this server's turn."""
        await self._courier.recover()
        async with self.turn.here, AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self.turn.elsewhere(0.0))
            except LedgerUnavailable:
                return
            await self.committer.recover()

    async def run(self, options: IngestOptions, by: Actor) -> AsyncIterator[dict[str, Any]]:
        """Progress events, then one `report`. Raises `UserError` before anything is touched if the run is refused."""
        if self._running.locked():
            raise UserError("ingest", "another run is under way", "wait for it to end")
        events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        async with self._running, self.turn:
            task = asyncio.create_task(self._run(options, f"{by.kind}:{by.id}", events.put_nowait))
            task.add_done_callback(lambda _: events.put_nowait(None))
            try:
                while (event := await events.get()) is not None:
                    yield event
                await task
            finally:
                task.cancel()
                with anyio.CancelScope(shield=True), contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _run(self, options: IngestOptions, by: str, emit: Callable[[dict[str, Any]], None]) -> None:
        """The steps of one run.

        1. what was said about access, and that the source's last run was told as much
        2. the files there are; what an earlier run left half done is finished; where each file is shelved
        3. from here on a run of this source must be told as much: note it before anything is in
        4. withdraw what may no longer be in, before anything new is read
        5. move labels; then read, convert, split, embed and commit what is new or changed
        6. with `sync`, remove what has vanished
        """
        folder = self._folder(options)
        run = Run(options.source_name, by, folder, Report(), emit)
        shelving = await asyncio.to_thread(self._shelving, options)
        await self._same_kinds(options)
        files = await asyncio.to_thread(self._walk, folder, run.report)
        await self.committer.recover()
        plan = await self._plan(run, options, shelving, files)
        state = SourceState(options.acl is not None, options.rules is not None)
        await self._intake.remember_source(options.source_name, state, self._clock())
        await self._delete(run, plan.withdrawn, "withdrawn")
        await self.take_in.run(run, plan.work)
        if options.sync:
            await self._delete(run, plan.vanished, "deleted")
        emit(run.report.as_event())

    def _folder(self, options: IngestOptions) -> Folder:
        if not options.root.is_dir():
            raise UserError("folder", f"{options.root} is not a folder that can be read", "name a folder of documents")
        if len(options.source_name) > 500 or not options.source_name.isprintable():
            raise UserError("source", "has more than 500 characters, or invisible ones", "give another --source")
        if options.source_name == UPLOADS:
            raise UserError("source", "is the one of uploaded documents", "give another --source")
        return self._open_folder(options.root)

    def _shelving(self, options: IngestOptions) -> Shelving:
        try:
            collection = None if options.collection is None else collection_name(options.collection)
        except ValueError as error:
            raise UserError("collection", str(error), "give a path such as finance/payroll") from error
        rules = self._parsed("rules", options.rules, parse_rules_yaml, ())
        acl, bad = self._parsed("acl", options.acl, parse_acl, (None, {}))
        return Shelving(collection, rules, acl, bad)

    def _parsed(self, name: str, path: Path | None, parse: Callable[[str], Any], absent: Any) -> Any:
        if path is None:
            return absent
        try:
            return parse(self._open_folder(path.parent).read(path.name, _TEXT_LIMIT).decode())
        except FileRefused as error:
            raise UserError(name, f"{path}: {error.problem}", error.remedy) from error
        except UnicodeDecodeError as error:
            raise UserError(name, f"{path} is not UTF-8", "save it as UTF-8") from error
        except ShelvingError as error:
            raise UserError(name, f"{path}: {error}", "") from error

    async def _same_kinds(self, options: IngestOptions) -> None:
        """A run that forgets the access list of the last one would open documents up: it is refused."""
        last = await self._intake.source(options.source_name)
        for name, used, given in (
            ("acl", last is not None and last.used_acl, options.acl),
            ("rules", last is not None and last.used_rules, options.rules),
        ):
            if used and given is None:
                raise UserError(name, "was given for this source last time and is missing now", f"give --{name} again")

    def _walk(self, folder: Folder, report: Report) -> list[str]:
        """Paths of supported files; the others are counted or refused."""
        paths: list[str] = []
        try:
            for file in folder.walk():
                if isinstance(file, BadFile):
                    report.refuse(file.path, file.problem, file.remedy)
                elif file.supported:
                    paths.append(file.path)
                else:
                    report.counts["unsupported"] += 1
        except OSError as error:
            problem = f"a folder below it cannot be read ({error.strerror})"
            raise UserError("folder", problem, "make it readable; nothing was changed") from error
        return paths

    async def _plan(self, run: Run, options: IngestOptions, shelving: Shelving, files: Sequence[str]) -> _Plan:
        roles = await self._known_roles()
        shelves: dict[str, Shelf] = {}
        for path in files:
            decided = shelve(path, shelving, roles)
            if isinstance(decided, Shelf):
                shelves[path] = decided
            elif isinstance(decided, Refused):
                run.report.refuse(path, decided.problem, decided.remedy)
            else:
                run.report.counts["unlisted"] += 1
        there = set(files) | {item["path"] for item in run.report.refused}
        self._name_absent(run, shelving, set(files))
        shelved = await self._intake.shelf(options.source_name)
        classes = await self._classes(shelves)
        present = {path: old for path, old in shelved.items() if old.version is not None and not old.deleted}
        withdrawn = [old for path, old in present.items() if path in there and path not in shelves]
        vanished = [old for path, old in present.items() if path not in there]
        if options.sync:
            _guard_mass_delete(len(vanished), len(present), files, options)
        catalog = (await self._authority.current())[1].catalog.classes
        work = [
            Work(path, classes[path], shelved.get(path), _both(shelf, present.get(path), catalog))
            for path, shelf in shelves.items()
        ]
        run.total = len(work)
        return _Plan(work, withdrawn, vanished)

    def _name_absent(self, run: Run, shelving: Shelving, files: set[str]) -> None:
        run.report.counts["unlisted"] += len(set(shelving.acl or ()) - files)
        for path in sorted(set(shelving.bad_acl) - files):
            run.report.refuse(path[:200], shelving.bad_acl[path], "mend its line in the ACL file")

    async def _known_roles(self) -> frozenset[str]:
        _, snapshot = await self._authority.current()
        return snapshot.book.subjects

    async def _classes(self, shelves: dict[str, Shelf]) -> dict[str, int]:
        sets = sorted({shelf.requirements for shelf in shelves.values()}, key=sorted)
        readers = {name: subjects for shelf in shelves.values() for name, subjects in shelf.readers.items()}
        ids = dict(zip(sets, await self._intake.intern(sets, readers), strict=True))
        return {path: ids[shelf.requirements] for path, shelf in shelves.items()}

    async def _delete(self, run: Run, documents: Sequence[Shelved], counted: str) -> None:
        for start in range(0, len(documents), 100):
            batch = documents[start : start + 100]
            changes = [LabelChange("delete", old.document, old.version, old.access_class) for old in batch]
            await self.committer.label(changes, run.by)
        run.report.counts[counted] += len(documents)


def _both(shelf: Shelf, old: Shelved | None, classes: Mapping[int, frozenset[str]]) -> frozenset[str]:
    """The requirements of the label in force, if there is one, and of the new one together."""
    return shelf.requirements if old is None else shelf.requirements | classes[old.access_class]


def _guard_mass_delete(vanished: int, present: int, files: Sequence[str], options: IngestOptions) -> None:
    """An empty folder is more likely a mistake (a mount that is missing) than a wish to delete everything."""
    if vanished and not files:
        raise UserError("folder", "holds no document at all", "nothing is deleted for an empty folder: check its path")
    if vanished > MASS_DELETE_SHARE * present and not options.allow_mass_delete:
        problem = f"lacks {vanished} of the source's {present} documents, more than a fifth"
        raise UserError("folder", problem, "if they shall really go, add --allow-mass-delete; nothing was changed")
