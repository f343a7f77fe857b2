"""One verification: the file from its first byte to its last, streamed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from usher.ledger.record import FORMAT, leaf_hash, tail_text
from usher.ledger.verify.content import ContentCheck, Ring
from usher.ledger.verify.file import has_log, opened
from usher.ledger.verify.findings import Findings
from usher.ledger.verify.notes import BadNote, Note, key_of, read_note
from usher.ledger.verify.order import OrderCheck
from usher.ledger.verify.source import Source, Unreadable
from usher.ledger.verify.tree import Roots

Progress = Callable[[int, int], None]
_PROGRESS_EVERY = 5_000
_HELD = "the held checkpoint"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. `size` and `root` are of the events that are there, `checkpoint` is the newest stored note.

    `first_bad` is the number of the first event that is missing, changed or no longer vouched for; it is None where
    nothing is wrong or what is wrong is no event. Where a checkpoint's root does not hold and no single event shows
    why, it is the first event after the last checkpoint that holds. `content` says if commitments to plaintext were
    checked; rows and ciphertexts always are. `signatures` says whose key they were checked with: the ring's, the one
    given, or only the file's own, which any forger can put there. `uncovered` counts the last events, which no
    checkpoint covers: with the ring they are known to be its server's, without it nothing vouches for them.
    """

    ok: bool
    size: int
    root: str
    checkpoint: str | None
    first_bad: int | None
    problems: tuple[str, ...]
    content: Literal["checked", "unchecked"]
    signatures: Literal["ring", "given", "own"]
    uncovered: int


def verify(
    path: Path,
    *,
    ring: Ring | None = None,
    public_key: bytes | None = None,
    held: str | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Check a `ledger.sqlite` without writing anything: beside a running server, on a copy, in a read-only folder.

    `ring` opens content and has the checkpoints' key; `public_key` is that key alone (with neither, the key stored in
    the file is used, which shows damage but no forger); `held` is the text of a checkpoint kept elsewhere; `progress`
    is called with (events done, events there). Whatever the bytes are, the answer is a verdict.
    """
    run = _Run(ring, public_key, held, progress)
    quiet = run.whole(path)
    if not run.findings.clean and quiet and _now_in_use(path):
        # It was read as a file at rest, and a server has begun to write meanwhile: read it again as one in use.
        run = _Run(ring, public_key, held, progress)
        run.whole(path)
    return Verdict(
        ok=run.findings.clean,
        size=run.roots.size,
        root=run.roots.root().hex(),
        checkpoint=run.newest,
        first_bad=run.findings.first_bad,
        problems=tuple(run.findings.problems),
        content="unchecked" if ring is None else "checked",
        signatures="ring" if ring is not None else "own" if public_key is None else "given",
        uncovered=run.roots.size - run.vouched,
    )


def _now_in_use(path: Path) -> bool:
    try:
        return has_log(path)
    except OSError:
        return False


class _Run:
    """The state of one pass over the file."""

    def __init__(self, ring: Ring | None, key: bytes | None, held: str | None, progress: Progress | None) -> None:
        self._ring, self._held, self._progress = ring, held, progress
        self._key = ring.public_key if ring is not None else key
        self.findings, self.roots = Findings(), Roots()
        self.newest: str | None = None
        self._origin = ""
        self.vouched = 0
        self._roots_hold = True

    def whole(self, path: Path) -> bool:
        """Check the file; True if it was read as one at rest."""
        quiet = False
        try:
            quiet = not has_log(path)
            with opened(path) as source:
                self._check(source)
        except (Unreadable, OSError) as error:
            self.findings.add(f"the file cannot be read further: {error}", self.roots.size + 1)
        except (TypeError, ValueError, OverflowError) as error:
            self.findings.add(f"the file's rows are not a ledger's: {type(error).__name__}", self.roots.size + 1)
        return quiet

    def _check(self, source: Source) -> None:
        # 1. The file is a ledger of a known format.
        version = source.format()
        if version != FORMAT:
            self.findings.add(f"the file's format is {version}, not {FORMAT}: no ledger, or of a newer version", 1)
            return
        # 2. Checkpoints, the held one among them, are well-formed and signed.
        notes = self._notes(source)
        # 3. Every event: its number, its bytes, its place in its exchange with its content, the roots on the way.
        content = ContentCheck(source, self.findings, self._ring)
        order = OrderCheck(self.findings, content.rows_of)
        self._events(source, order, notes)
        # 4. What is stored beside the events agrees with them.
        self._end(source, order, notes)
        content.finish(order.open_chats())

    def _notes(self, source: Source) -> list[Note]:
        origin = self._origin = self._single(source, "SELECT origin FROM log")
        notes: list[Note] = []
        stored_key = None
        for ident, size, edge, note, key in source.rows(
            "SELECT id, size, edge, note, key FROM checkpoints ORDER BY id"
        ):
            stored_key, name = key_of(key, origin), f"checkpoint {ident}"
            if stored_key is None or self._key not in (None, stored_key):
                self.findings.add(f"{name}: it is stored with another key")
            read = self._note(note, origin, stored_key, name, edge)
            if read and (read.size != size or (notes and read.size < notes[-1].size)):
                self.findings.add(f"{name}: it is out of order or stored under another size")
            notes += [read] if read else []
            self.newest = note if isinstance(note, str) else self.newest
        if not notes:
            self.findings.add("no valid checkpoint is stored")
        if self._held is not None:
            held = self._note(self._held, origin, stored_key, _HELD)
            notes += [held] if held else []
        return sorted(notes, key=lambda note: note.size)

    def _note(self, text: object, origin: str, stored: bytes | None, name: str, edge: object = None) -> Note | None:
        try:
            return read_note(text, origin, self._key or stored, name, edge)
        except BadNote as error:
            self.findings.add(f"{name}: {error}")
            return None

    def _events(self, source: Source, order: OrderCheck, notes: list[Note]) -> None:
        total = next(source.rows("SELECT max(number) FROM events"))[0] or 0
        at = self._compare(notes, 0)
        for number, leaf, event in source.rows("SELECT number, leaf, event FROM events ORDER BY number"):
            if number != self.roots.size + 1:
                self.findings.add(f"it is missing; the next one there is {number}", self.roots.size + 1)
                break
            self._event(order, number, leaf, event)
            if at < len(notes) and notes[at].size == number:
                at = self._compare(notes, at)
            if self._progress and number % _PROGRESS_EVERY == 0:
                self._progress(number, total)
        if self._progress:
            self._progress(self.roots.size, total)

    def _event(self, order: OrderCheck, number: int, leaf: object, event: Any) -> None:
        if type(event) is not bytes:
            self.findings.add("it is not stored as bytes", number)
            event = str(event).encode()
        computed = leaf_hash(event)
        if computed != leaf:
            self.findings.add("its bytes do not have the hash stored with them", number)
        self.roots.add(computed)
        order.check(number, event)

    def _compare(self, notes: list[Note], at: int) -> int:
        """Hold the checkpoints of the present size, from `at` on, against the root; the place of the next one."""
        size, wrong = self.roots.size, 0
        while at < len(notes) and notes[at].size == size:
            wrong += not self._holds(notes[at])
            at += 1
        self._roots_hold = self._roots_hold and not wrong
        self.vouched = size if self._roots_hold else self.vouched
        return at

    def _holds(self, note: Note) -> bool:
        holds = note.root == self.roots.root()
        if holds and note.edge is not None and note.edge != self.roots.edge():
            self.findings.add(f"{note.name}: the edge stored with it is not the tree's")
        if not holds and (self._roots_hold or note.name == _HELD):
            # Whoever signed what contradicts the held checkpoint signed the stored ones too: they vouch for nothing.
            trusted = 0 if note.name == _HELD else self.vouched
            self.findings.add_after(trusted, f"{note.name}: its root is not that of the first {note.size} events")
        return holds

    def _end(self, source: Source, order: OrderCheck, notes: list[Note]) -> None:
        size = self.roots.size
        for note in notes:
            if note.size > size:
                self.findings.add(f"it is missing; {note.name} covers {note.size} events", size + 1)
                break
        self._tree(source)
        listed = list(source.rows("SELECT audit_id, number FROM open_exchanges"))
        if sorted(listed, key=repr) != sorted(order.open_chats().items(), key=repr):
            self.findings.add("the list of open exchanges is not the one of the events")

    def _tree(self, source: Source) -> None:
        """The stored tree is the one of the events; and, with a ring, whoever committed it had that ring."""
        rows = list(source.rows("SELECT size, edge, mac FROM tree"))
        if len(rows) != 1 or rows[0][:2] != (self.roots.size, self.roots.edge()):
            self.findings.add_after(self.vouched, "the stored tree is not the one of the events")
        elif self._ring is not None:
            wanted = self._ring.tail_mac(tail_text(self._origin, self.roots.size, self.roots.root()))
            if rows[0][2] != wanted:
                self.findings.add_after(self.vouched, "the log's end was not committed with this key ring")

    def _single(self, source: Source, query: str) -> str:
        rows = list(source.rows(query))
        if len(rows) != 1:
            self.findings.add("the log's name is missing or doubled")
        return str(rows[0][0]) if rows else ""
