"""One reading of a ledger, from its first event to its last, streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import msgspec

from usher.ledger.record import FORMAT, EventType, leaf_hash, tail_text
from usher.ledger.verify.checkpoints import CheckpointCheck
from usher.ledger.verify.content import ContentCheck
from usher.ledger.verify.findings import Findings
from usher.ledger.verify.notes import notes_in
from usher.ledger.verify.order import OrderCheck
from usher.ledger.verify.resume import VERSION, Keeper, Saved, digest_of
from usher.ledger.verify.source import LEAST, Source, Unreadable
from usher.ledger.verify.tree import Roots
from usher.ledger.verify.verdict import Means, Trust, Verdict

Opener = Callable[[], AbstractContextManager[Source]]
"""Opens the ledger for reading, each time in its present state. What it raises is `OSError` or `Unreadable`."""
_PROGRESS_EVERY = 5_000
_EVENTS = "SELECT number, leaf, event FROM events WHERE number >= ? ORDER BY number"

_EVENT = "SELECT number, leaf, event FROM events WHERE number = ?"


class Pass:
    """One reading of all events, from the first on or from where `start` stood; of a state that is `known`
    only the checkpoint is believed, as one that is held, and it is kept until nothing contradicts it."""

    def __init__(self, means: Means, *, start: Saved | None = None, known: Saved | None = None) -> None:
        self._means, self._saved, self._known = means, start, known
        self._findings = Findings()
        self._roots = start.roots() if start else Roots()
        self._checkpoints: CheckpointCheck | None = None
        self._keeper = Keeper(means.resume, means.ring, at_once=known is None)
        self._vouched_by_ring = False
        self._pending = self._erased = self._open = 0

    def verdict(self, open_ledger: Opener) -> Verdict:
        """Check all there is."""
        try:
            with open_ledger() as source:
                self._check(source)
        except (Unreadable, OSError) as error:
            self._findings.add(f"the ledger cannot be read further: {error}", self._roots.size + 1)
        except (TypeError, ValueError, KeyError, OverflowError, MemoryError) as error:
            self._findings.add(f"the rows are not a ledger's: {type(error).__name__}", self._roots.size + 1)
        finally:
            self._keeper.write(self._findings.clean)
        return self._told()

    def _told(self) -> Verdict:
        means, checkpoints = self._means, self._checkpoints
        return Verdict(
            ok=self._findings.clean,
            size=self._roots.size,
            root=self._roots.root().hex(),
            checkpoint=checkpoints.newest if checkpoints else None,
            first_bad=self._findings.first_bad,
            problems=tuple(self._findings.problems),
            content="unchecked" if means.ring is None else "checked",
            signatures="ring" if means.ring is not None else "own" if means.public_key is None else "given",
            uncovered=self._roots.size - (checkpoints.vouched if checkpoints else 0),
            trusted=self._trusted(),
            pending=self._pending,
            open=self._open,
            resumed_from=self._saved.size if self._saved else 0,
            warnings=tuple(self._warnings()),
        )

    def _trusted(self) -> tuple[Trust, ...]:
        found = list(self._checkpoints.trusted()) if self._checkpoints else []
        if self._vouched_by_ring and not (self._checkpoints and self._checkpoints.contradicted):
            found.append(Trust(self._roots.size, "ring", None))
        return tuple(found)

    def _warnings(self) -> Iterator[str]:
        if self._saved:
            yield (
                f"events 1 to {self._saved.size} were verified before and not read again: what was done since then to "
                "them, to the content beside them or to their checkpoints is not found; verify without --resume for it"
            )
            if self._means.ring is None:
                yield "where that stood was read from a file that no key vouches for: its writer chose what is skipped"
        if self._erased:
            yield f"what {self._erased} erased people said opens no more: of that, commitments are checked, no texts"
        if self._keeper.problem:
            yield f"where the verification stands could not be kept: {self._keeper.problem}"

    def _check(self, source: Source) -> None:
        # 1. The ledger is of a known format.
        if source.damage:
            self._findings.add(f"the file is damaged: {source.damage}")
        version = source.format()
        if version != FORMAT:
            self._findings.add(f"the format is {version}, not {FORMAT}: no ledger, or of a newer version", 1)
            return
        # 2. Checkpoints, the held ones among them, are well-formed and signed: each is read when its size is reached.
        checkpoints = self._checkpoints = self._notes(source)
        # 3. Every event: its number, its bytes, its place in its exchange with its content, the roots on the way.
        content = ContentCheck(source, self._findings, self._means.ring)
        order = OrderCheck(
            self._findings, content.rows_of, content.taken_away, content.subject_erased, content.recorded
        )
        if self._saved:
            self._go_on(self._saved, order, content, checkpoints)
        with self._told_if_unreadable("the events", at_event=True):
            self._events(source, order, content, checkpoints)
        checkpoints.finish(self._roots.size)
        # 4. What is stored beside the events agrees with them.
        with self._told_if_unreadable("the tree"):
            self._tree(source, checkpoints)
        with self._told_if_unreadable("the open exchanges"):
            self._open = len(order.open_chats())
            listed = list(source.rows("SELECT audit_id, number FROM open_exchanges"))
            if sorted(listed, key=repr) != sorted(order.open_chats().items(), key=repr):
                self._findings.add("the list of open exchanges is not the one of the events")
        with self._told_if_unreadable("the content"):
            self._erased = content.erased
            content.finish({**order.open_chats(), **self._waiting(source)})

    def _notes(self, source: Source) -> CheckpointCheck:
        means, origin = self._means, (self._means.held or "").partition("\n")[0]
        with self._told_if_unreadable("the log's name"):
            origin = self._single(source, "SELECT origin FROM log")
        checkpoints = CheckpointCheck(source, self._findings, origin, means.key, self._roots.size)
        held = notes_in(means.held, origin) if means.held is not None else []
        saved = self._saved or self._known
        checkpoints.hold(held, means.known, saved.checkpoint if saved else None)
        return checkpoints

    @contextmanager
    def _told_if_unreadable(self, what: str, *, at_event: bool = False) -> Iterator[None]:
        try:
            yield
        except Unreadable as error:
            number = self._roots.size + 1 if at_event else None
            self._findings.add(f"{what} cannot be read further: {error}", number)

    def _go_on(self, saved: Saved, order: OrderCheck, content: ContentCheck, checkpoints: CheckpointCheck) -> None:
        """Put the checks where they stood. Whatever does not fit is a finding: then all is read from the first on."""
        skipped = checkpoints.held_before(saved.size)
        if saved.origin != checkpoints.origin or (skipped and digest_of(skipped) != saved.held):
            self._findings.add("it is another ledger, or is held against other checkpoints than before")
        order.restore(saved.order)
        content.restore(saved.content)

    def _events(self, source: Source, order: OrderCheck, content: ContentCheck, checkpoints: CheckpointCheck) -> None:
        progress, roots = self._means.progress, self._roots
        total = self._last(source) if progress else 0
        if checkpoints.due <= roots.size:
            checkpoints.compare(roots)
        for number, leaf, event in self._rows(source):
            if number != roots.size + 1:
                self._findings.add(f"it is missing; the next one there is {number}", roots.size + 1)
                break
            self._event(order, number, leaf, event)
            if checkpoints.due == number and checkpoints.compare(roots):
                self._keep(order, content, checkpoints)
            if progress and number % _PROGRESS_EVERY == 0:
                progress(number, total)
        if progress:
            progress(roots.size, total)

    def _rows(self, source: Source) -> Iterator[tuple[Any, ...]]:
        """The rows of the events, and at a damaged place one by one, up to the very one that cannot be read."""
        try:
            yield from source.rows(_EVENTS, self._roots.size + 1 if self._roots.size else LEAST)
        except Unreadable:
            while row := next(source.rows(_EVENT, self._roots.size + 1), None):
                yield row
            raise

    def _last(self, source: Source) -> int:
        """How far there is to go; 0 where that cannot be read."""
        with suppress(Unreadable):
            return next(source.rows("SELECT max(number) FROM events"))[0] or 0
        return 0

    def _event(self, order: OrderCheck, number: int, leaf: object, event: Any) -> None:
        if type(event) is not bytes:
            self._findings.add("it is not stored as bytes", number)
            event = str(event).encode()
        computed = leaf_hash(event)
        if computed != leaf:
            self._findings.add("its bytes do not have the hash stored with them", number)
        self._roots.add(computed)
        try:
            order.check(number, event)
        except Unreadable as error:
            self._findings.suspect(f"its content cannot be read: {error}", number)

    def _keep(self, order: OrderCheck, content: ContentCheck, checkpoints: CheckpointCheck) -> None:
        """Keep where this stands, if nothing was found so far."""
        note = checkpoints.stored
        if note is not None and self._findings.clean and self._keeper.due(last=checkpoints.at_last):
            self._keeper.take(
                Saved(
                    version=VERSION,
                    origin=checkpoints.origin,
                    size=note.size,
                    edge=self._roots.edge().hex(),
                    checkpoint=note.text,
                    order=order.state(),
                    content=content.state(),
                    held=digest_of(checkpoints.held_before(note.size)),
                )
            )

    def _tree(self, source: Source, checkpoints: CheckpointCheck) -> None:
        """The stored tree is the one of the events; and, with a ring, whoever committed it had that ring."""
        vouched, origin = checkpoints.vouched, checkpoints.origin
        rows, size = list(source.rows("SELECT size, edge, mac FROM tree")), self._roots.size
        stored = rows[0] if len(rows) == 1 else (None, None, None)
        ring, known = self._means.ring, stored[0] if type(stored[0]) is int else 0
        if ring is not None:
            self._vouched_by_ring = stored[2] == ring.tail_mac(tail_text(origin, size, self._roots.root()))
        if known > size:
            self._findings.add(f"it is missing; the stored tree is of {known} events", size + 1)
        elif stored[:2] != (size, self._roots.edge()):
            whole = self._vouched_by_ring or vouched == size
            problem = "the stored tree is not the one of the events"
            self._findings.add(problem) if whole else self._findings.add_after(vouched, problem)
        if ring is not None and not self._vouched_by_ring:
            self._findings.add_after(vouched, "the log's end was not committed with this key ring")

    def _waiting(self, source: Source) -> dict[str, int]:
        """The exchanges whose requests wait for their numbers; counts all events that do."""
        found = {}
        for part in source.pending():
            self._pending += 1
            try:
                event = msgspec.json.decode(part)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                event = None
            if not isinstance(event, dict):
                self._findings.add("an event that waits for its number is not one in JSON")
            elif event.get("type") == EventType.REQUEST and isinstance(event.get("audit_id"), str):
                found[event["audit_id"]] = 0
        return found

    def _single(self, source: Source, query: str) -> str:
        rows = list(source.rows(query))
        if len(rows) != 1:
            self._findings.add("the log's name is missing or doubled")
        return str(rows[0][0]) if rows else ""
