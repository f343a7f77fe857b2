"""Checking an export where there is nothing but the export, and a key or a checkpoint from somebody who is trusted."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

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
    Tallied,
    Tally,
    is_export,
    opened,
)
from usher.ledger.verify.export_manifest import Manifest, check_signature, read_manifest
from usher.ledger.verify.export_proof import MultiproofCheck, hashes_of
from usher.ledger.verify.findings import Findings
from usher.ledger.verify.notes import BadNote, Note, notes_in, read_note
from usher.ledger.verify.proof import BadProof, verify_consistency

__all__ = ["ExportVerdict", "is_export", "verify_export"]

T = TypeVar("T")
Progress = Callable[[int, int], None]
_PROGRESS_EVERY = 5_000
_SMALL = 1024**2
"""Bytes of the longest manifest."""
_NAMES = 512 * 1024**2

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
        size, hashes = manifest.consistency() or (checkpoint.size, [])
        if self._held is None:
            return
        texts = notes_in(self._held, manifest.origin)
        held = {note.size: note for note in (read_note(t, manifest.origin, key, "held") for t in texts)}
        related = [(held[at], proof) for at, proof in ((checkpoint.size, []), (size, hashes)) if at in held]
        if not related:
            raise BadProof(
                f"it is of {checkpoint.size} events, and nothing relates it to the held one: "
                "ask for an export with --checkpoint"
            )
        for note, proof in related:
            verify_consistency(note.size, note.root, checkpoint.size, checkpoint.root, proof)

    def _events(self, files: Files, manifest: Manifest) -> None:
        """All files but the manifest, in one pass."""
        query = self._query = QueryCheck(manifest, self.findings)
        people = _people(files, manifest, self.findings)
        with ExitStack() as stack:
            names = [name for name in (EVENTS, PROOF, TABLE) if name in manifest.files and name in files.names]
            streams = {name: Tallied(stack.enter_context(files.opened(name))) for name in names}
            table = None
            if TABLE in streams:
                text = io.TextIOWrapper(io.BufferedReader(streams[TABLE]), "utf-8-sig", newline="")
                table = TableCheck(text, manifest, people, self.findings)
            hashes = hashes_of(streams[PROOF].lines() if PROOF in streams else ())
            events = self._lines(streams[EVENTS].lines() if EVENTS in streams else (), manifest)
            self._prove(events, hashes, query, table)
            query.finish()
            if table is not None:
                table.finish()
            for name, stream in streams.items():
                stream.drain()
                if not stream.tally.fits(manifest.files[name]):
                    self.findings.add(f"{name} is not the file that was signed")

    def _lines(self, lines: Iterable[bytes], manifest: Manifest) -> Iterator[Line]:
        done, said = 0, manifest.body.get("count")
        for data in lines:
            yield read_line(data)
            done += 1
            if self._progress and done % _PROGRESS_EVERY == 0:
                self._progress(done, said if isinstance(said, int) else done)
        if self._progress:
            self._progress(done, done)

    def _prove(
        self, events: Iterable[Line], hashes: Iterator[bytes], query: QueryCheck, table: TableCheck | None
    ) -> None:
        """Every event is looked at, also once it is clear that they are not proven."""
        checkpoint = self._checkpoint
        check = MultiproofCheck(checkpoint.size if checkpoint else 0, hashes)
        problem = None if checkpoint else "proof: without a good checkpoint nothing is proven"
        for line in events:
            query.check(line)
            if table is not None:
                table.check(line)
            problem = problem or _problem_of(lambda one: check.take(one.number - 1, one.leaf), line)
        if problem is None and checkpoint is not None:
            problem = _problem_of(lambda note: check.lead_to(note.root), checkpoint)
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
            yield f"what {query.cut} events say, cut to what their reader may know: their hash alone is proven"
        if manifest.query["types"] and (unnamed := query.unnamed()):
            yield f"why {len(unnamed)} exchanges are here: their events that name what was asked for are of other types"
        if NAMES in manifest.files:
            yield "that people and documents are called so: names stand in no event"


def _problem_of(act: Callable[[T], None], on: T) -> str | None:
    try:
        act(on)
    except BadProof as error:
        return str(error)
    return None


def _listed(files: Files, manifest: Manifest) -> Iterator[str]:
    """What is wrong with the list of its files."""
    wanted = {EVENTS, PROOF} | ({TABLE} if manifest.columns is not None else set())
    if not wanted <= set(manifest.files) <= wanted | {NAMES}:
        yield "the manifest does not list the files that it must"
    for name in sorted(set(manifest.files) - files.names):
        yield f"{name} is missing"
    for name in sorted(files.names - set(manifest.files) - {MANIFEST, NOTE}):
        yield f"{name!r} is not in the manifest"


def _people(files: Files, manifest: Manifest, findings: Findings) -> Mapping[str, Any]:
    """The names of people by pseudonym, as far as there are any."""
    if NAMES not in manifest.files or NAMES not in files.names:
        return {}
    tally = Tally()
    data = tally.add(files.small(NAMES, _NAMES))
    if not tally.fits(manifest.files[NAMES]):
        findings.add(f"{NAMES} is not the file that was signed")
    try:
        people = json.loads(data)["people"]
    except (ValueError, KeyError, TypeError, RecursionError):
        people = None
    return people if isinstance(people, dict) else {}
