"""Checkpoints, those stored and those held elsewhere, against the roots of the events."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from typing import Any

from usher.ledger.verify.findings import Findings
from usher.ledger.verify.notes import BadNote, Note, key_of, read_note
from usher.ledger.verify.source import LEAST, Source, Unreadable
from usher.ledger.verify.tree import Roots
from usher.ledger.verify.verdict import Trust

_HELD = "the held checkpoint"
_KNOWN = "the checkpoint beside the key ring"
_SAVED = "the checkpoint of the saved verification"
_STORED = "SELECT id, size, edge, note, key FROM checkpoints WHERE size >= ? ORDER BY id"
_NEWEST_KEY = "SELECT key FROM checkpoints ORDER BY id DESC LIMIT 1"


class CheckpointCheck:
    """Reads the notes beside the events. `due` is the size of the tree at which the next of them is to be compared.

    `held` and `stored` are the last ones that held: what they cover can be trusted, by them. Whoever signed what
    contradicts a held checkpoint signed the stored ones too: then these vouch for nothing (`contradicted`).
    """

    def __init__(self, source: Source, findings: Findings, origin: str, key: bytes | None, start: int) -> None:
        """`key` is the one to believe, None for the one that each note is stored with; `start` is the size of the tree
        at which the reading begins."""
        self._source, self._findings, self._key, self._start = source, findings, key, start
        self.origin = origin
        self.newest: str | None = None
        self.held: Note | None = None
        self.stored: Note | None = None
        self.contradicted = False
        self._contradiction: Note | None = None
        self._all_held: list[Note] = []
        self._waiting: deque[Note] = deque()
        self._stream = self._read()
        self._next = next(self._stream, None)
        if self._next is None:
            findings.add("no valid checkpoint is stored")
        self._look_ahead()

    def hold(self, texts: Sequence[str], known: str | None, saved: str | None) -> None:
        """Hold the events to checkpoints that are kept elsewhere; to a `known` one, if it is of this log; and to that
        of a saved verification, which must be of this log if that is gone on with."""
        key = self._key or self._stored_key()
        notes = [note for text in texts if (note := self._note(text, key, _HELD))]
        with suppress(BadNote):
            notes += [read_note(known, self.origin, key, _KNOWN)] if known is not None else []
        self._all_held = sorted(notes, key=lambda note: note.size)
        try:
            notes += [read_note(saved, self.origin, key, _SAVED)] if saved is not None else []
        except BadNote as error:
            if self._start:
                self._findings.add(f"{_SAVED}: {error}")
        waiting = (note for note in notes if note.size >= self._start)
        self._waiting = deque(sorted(waiting, key=lambda note: note.size))
        self._look_ahead()

    def held_before(self, size: int) -> list[Note]:
        """The held ones of smaller trees."""
        return [note for note in self._all_held if note.size < size]

    @property
    def at_last(self) -> bool:
        """True if no stored one is left."""
        return self._next is None

    @property
    def vouched(self) -> int:
        """Up to which event checkpoints vouch."""
        stored = 0 if self.stored is None or self.contradicted else self.stored.size
        return max(stored, self.held.size if self.held else 0)

    def trusted(self) -> Iterator[Trust]:
        if self.held is not None:
            yield Trust(self.held.size, "held", self.held.text)
        if self.stored is not None and not self.contradicted:
            yield Trust(self.stored.size, "stored", self.stored.text)

    def compare(self, roots: Roots) -> bool:
        """Hold the checkpoints of the present size against the root; True if a stored one holds, and all before it."""
        root, before, stored = roots.root(), self.stored, set()
        while self._next is not None and self._next.size == roots.size:
            stored.add(self._next.root)
            self._compare_stored(self._next, root, roots)
            self._next = next(self._stream, None)
        while self._waiting and self._waiting[0].size == roots.size:
            self._compare_held(self._waiting.popleft(), root, stored)
        self._look_ahead()
        return self.stored is not before

    def finish(self, size: int) -> None:
        """Say what checkpoints say of events that are not there, or that contradict them."""
        later = [note for note in (*self._waiting, *([self._next] if self._next else [])) if note.size > size]
        if later:
            self._findings.add(f"it is missing; {later[0].name} covers {later[0].size} events", size + 1)
        for missed in self._waiting:
            if missed.size < size:
                self._findings.add(f"{missed.name} over {missed.size} events could not be compared")
        for _ in self._stream:  # so that each is read, and the newest known
            pass
        if (note := self._contradiction) is not None:
            problem = _contradicted(note)
            if self.contradicted or (self.held is not None and self.held.size >= note.size):
                self._findings.add(problem)  # the events in question are judged by the held one
            else:
                self._findings.add_after(self.vouched, problem, note.size)

    def _look_ahead(self) -> None:
        waiting = self._waiting[0].size if self._waiting else sys.maxsize
        self.due = min(waiting, self._next.size if self._next else sys.maxsize)

    def _compare_held(self, note: Note, root: bytes, stored: Container[bytes]) -> None:
        if note.root != root:
            if not self.contradicted:
                self._findings.add_after(self.held.size if self.held else 0, _contradicted(note), note.size)
            self.contradicted = True
        elif note.root not in stored and self._next is not None:  # each is stored before it is told to anybody
            self._findings.add(f"{note.name} over {note.size} events is not among those that are stored")
        if not self.contradicted and note.name == _HELD:
            self.held = note

    def _compare_stored(self, note: Note, root: bytes, roots: Roots) -> None:
        if note.root != root:
            self._contradiction = self._contradiction or note
            return
        if note.edge != roots.edge():
            self._findings.add(f"{note.name}: the edge stored with it is not the tree's")
        if self._contradiction is None:
            self.stored = note

    def _read(self) -> Iterator[Note]:
        """The stored ones that are in order, each read as it is wanted: there may be millions."""
        try:
            yield from self._in_order(self._source.rows(_STORED, self._start or LEAST))
        except Unreadable as error:
            self._findings.add(f"the checkpoints cannot be read further: {error}")

    def _in_order(self, rows: Iterator[tuple[Any, ...]]) -> Iterator[Note]:
        reached = self._start
        for ident, size, edge, text, key in rows:
            stored_key, name = key_of(key, self.origin), f"checkpoint {ident}"
            if stored_key is None or self._key not in (None, stored_key):
                self._findings.add(f"{name}: it is stored with another key")
            self.newest = text if isinstance(text, str) else self.newest
            note = self._note(text, stored_key, name, edge)
            if note is None:
                continue
            if note.size != size or note.size < reached:
                self._findings.add(f"{name}: it is out of order or stored under another size")
            if note.size >= reached:
                reached = note.size
                yield note

    def _stored_key(self) -> bytes | None:
        try:
            return key_of(next(self._source.rows(_NEWEST_KEY), (None,))[0], self.origin)
        except Unreadable:  # told where the checkpoints are read
            return None

    def _note(self, text: object, stored: bytes | None, name: str, edge: object = None) -> Note | None:
        try:
            return read_note(text, self.origin, self._key or stored, name, edge)
        except BadNote as error:
            self._findings.add(f"{name}: {error}")
            return None


def _contradicted(note: Note) -> str:
    return f"{note.name}: its root is not that of the first {note.size} events"
