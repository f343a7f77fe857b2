"""Checking an export where there is nothing but the export, and a key or a checkpoint from somebody who is trusted."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from usher.ledger.verify.export_events import Line, QueryCheck, TableCheck, read_line
from usher.ledger.verify.export_files import (
    EVENTS,
    MANIFEST,
    NAMES,
    NOTE,
    PROOF,
    TABLE,
    UNREADABLE,
    BadExport,
    Files,
    Tally,
    is_export,
    opened,
)
from usher.ledger.verify.export_manifest import Manifest, check_signature, read_manifest
from usher.ledger.verify.export_proof import MultiproofCheck, hashes_of
from usher.ledger.verify.findings import Findings
from usher.ledger.verify.notes import BadNote, Note, read_note
from usher.ledger.verify.proof import BadProof, verify_consistency

__all__ = ["ExportVerdict", "is_export", "verify_export"]

Progress = Callable[[int, int], None]
_PROGRESS_EVERY = 5_000
_SMALL = 1024**2
_NAMES = 512 * 1024**2
_LONGEST_LINE = 64 * 1024**2

COMPLETENESS = "that no other event fits the query: this is the word of the server, which signed the manifest"


@dataclass(frozen=True, slots=True)
class ExportVerdict:
    """What was found of an export of `count` events, of a log of `size` events with this root at its `checkpoint`.

    `first_bad` is the first event that cannot be what it is said to be; None where nothing is wrong, or where it is not
    to be told of which event. `signatures` says whose key they were checked with: one that was given, or only the
    export's own, which any forger can put there. `untold` is what nobody can tell from this export.
    """

    ok: bool
    origin: str | None
    query: Mapping[str, Any] | None
    count: int
    size: int
    root: str | None
    checkpoint: str | None
    first_bad: int | None
    problems: tuple[str, ...]
    signatures: Literal["given", "own"]
    untold: tuple[str, ...]


def verify_export(
    path: Path, *, public_key: bytes | None = None, held: str | None = None, progress: Progress | None = None
) -> ExportVerdict:
    """Check an export in a folder or a ZIP. Only reads; whatever the bytes are, the answer is a verdict.

    `public_key` is the log's; `held` is the text of a checkpoint kept elsewhere, of the size of the export's own or one
    that it was asked to continue; `progress` is called with (events done, events there).

    1. the manifest is signed with the log's key, for exports
    2. the checkpoint in it is signed too, and is or continues the one that is held
    3. each event's leaf, with the proof's hashes between them, leads to the checkpoint's root
    4. each event is in order and fits the query; the table says what the events say
    5. each file is the one in the manifest
    """
    run = _Run(public_key, held, progress)
    try:
        with opened(path) as files:
            run.whole(files)
    except BadExport as error:
        run.findings.add(str(error))
    except UNREADABLE as error:
        run.findings.add(f"it cannot be read further: {type(error).__name__}")
    return run.verdict()


class _Run:
    """The state of one check."""

    def __init__(self, key: bytes | None, held: str | None, progress: Progress | None) -> None:
        self._key, self._held, self._progress = key, held, progress
        self.findings = Findings()
        self._manifest: Manifest | None = None
        self._checkpoint: Note | None = None
        self._query: QueryCheck | None = None

    def whole(self, files: Files) -> None:
        data = files.small(MANIFEST, _SMALL)
        manifest = self._manifest = read_manifest(data)
        key = self._key or manifest.key
        for problem in _listed(files, manifest):
            self.findings.add(problem)
        try:
            check_signature(files.small(NOTE, _SMALL), data, manifest.origin, key)
        except BadNote as error:
            self.findings.add(f"manifest: {error}")
        try:
            self._checkpoint = manifest.checkpoint_of(key)
            self._continues(manifest, self._checkpoint, key)
        except (BadNote, BadProof) as error:
            self.findings.add(f"checkpoint: {error}")
        self._events(files, manifest)

    def _continues(self, manifest: Manifest, checkpoint: Note, key: bytes | None) -> None:
        """The export's checkpoint is the held one, or a later one of the same log. Raises `BadNote`, `BadProof`."""
        given = manifest.consistency()
        if self._held is None:
            return
        held = read_note(self._held, manifest.origin, key, "the held checkpoint")
        if held.size == checkpoint.size:
            verify_consistency(held.size, held.root, checkpoint.size, checkpoint.root, [])
        elif given is None or given[0] != held.size:
            raise BadProof(
                f"it is of {checkpoint.size} events, the held one of {held.size}, and nothing relates them: "
                "ask for an export with --checkpoint"
            )
        else:
            verify_consistency(held.size, held.root, checkpoint.size, checkpoint.root, given[1])

    def _events(self, files: Files, manifest: Manifest) -> None:
        """All files but the manifest, in one pass."""
        with ExitStack() as stack:
            streams = {name: Tallied(stack.enter_context(files.opened(name))) for name in _present(files, manifest)}
            query = self._query = QueryCheck(manifest, self.findings)
            people = _people(files)
            text = (
                io.TextIOWrapper(io.BufferedReader(streams[TABLE]), "utf-8-sig", newline="") if TABLE in streams else ""
            )
            table = TableCheck(text, manifest, people, self.findings) if manifest.columns is not None else None
            lines = self._lines(streams[EVENTS], manifest)
            self._prove(lines, streams[PROOF], query, table)
            query.finish()
            if table is not None:
                table.finish()
            for name, stream in streams.items():
                stream.drain()
                if not stream.tally.fits(manifest.files.get(name)):
                    self.findings.add(f"{name} is not the file that was signed")

    def _lines(self, stream: Tallied, manifest: Manifest) -> Iterator[Line]:
        total = manifest.body.get("count")
        done = 0
        for data in _split(stream):
            yield read_line(data)
            done += 1
            if self._progress and done % _PROGRESS_EVERY == 0:
                self._progress(done, total if isinstance(total, int) else done)
        if self._progress:
            self._progress(done, done)

    def _prove(self, lines: Iterator[Line], proof: Tallied, query: QueryCheck, table: TableCheck | None) -> None:
        checkpoint = self._checkpoint
        check = MultiproofCheck(checkpoint.size if checkpoint else 0, hashes_of(_split(proof)))
        problem = None if checkpoint else "proof: without its checkpoint nothing is proven"
        for line in lines:
            query.check(line)
            if table is not None:
                table.check(line)
            try:
                if problem is None:
                    check.take(line.number - 1, line.leaf)
            except BadProof as error:
                problem = str(error)
        try:
            if problem is None and checkpoint is not None and check.root() != checkpoint.root:
                problem = "proof: the events do not lead to the checkpoint's root: one was changed, added or left out"
        except BadProof as error:
            problem = str(error)
        if problem is not None:
            self.findings.add(problem)

    def verdict(self) -> ExportVerdict:
        manifest, checkpoint, query = self._manifest, self._checkpoint, self._query
        return ExportVerdict(
            ok=self.findings.clean,
            origin=manifest.origin if manifest else None,
            query=manifest.query if manifest else None,
            count=query.count if query else 0,
            size=checkpoint.size if checkpoint else 0,
            root=checkpoint.root.hex() if checkpoint else None,
            checkpoint=manifest.checkpoint if manifest else None,
            first_bad=self.findings.first_bad,
            problems=tuple(self.findings.problems),
            signatures="own" if self._key is None else "given",
            untold=tuple(self._untold(manifest, query)) if manifest and query else (),
        )

    def _untold(self, manifest: Manifest, query: QueryCheck) -> Iterator[str]:
        yield COMPLETENESS
        if self._key is None and self._held is None:
            yield "whose log it is: signatures were checked with the export's own key only; give --public-key"
        if query.cut:
            yield f"what {query.cut} events say: they were cut to what their reader may know, and only their hash is proven"
        if manifest.query["types"] and (unnamed := query.unnamed()):
            yield f"why {len(unnamed)} exchanges were chosen: the events that name what was asked for are of other types"
        if NAMES in manifest.files:
            yield "that people and documents are called so: names stand in no event"
