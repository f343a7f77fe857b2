"""One verification: a ledger from its first event to its last, streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from usher.ledger.record import FORMAT, EventType, leaf_hash, tail_text
from usher.ledger.verify.checkpoints import CheckpointCheck
from usher.ledger.verify.content import ContentCheck, Ring
from usher.ledger.verify.file import has_log, opened
from usher.ledger.verify.findings import Findings
from usher.ledger.verify.notes import notes_in
from usher.ledger.verify.order import OrderCheck
from usher.ledger.verify.resume import VERSION, Keeper, NotUsable, Saved, digest_of, load
from usher.ledger.verify.source import Source, Unreadable
from usher.ledger.verify.tree import Roots
from usher.ledger.verify.verdict import Trust, Verdict

Progress = Callable[[int, int], None]
Opener = Callable[[], AbstractContextManager[Source]]
"""Opens the ledger for reading, each time in its present state. What it raises is `OSError` or `Unreadable`."""
_PROGRESS_EVERY = 5_000
_EVENTS = "SELECT number, leaf, event FROM events WHERE number > ? ORDER BY number"


@dataclass(frozen=True, slots=True)
class Means:
    """What a verification is given.

    `ring` opens content and has the checkpoints' key; `public_key` is that key alone (with neither, the key stored with
    the ledger is used, which shows damage but no forger); `held` is the text of one or more checkpoints kept
    elsewhere; `progress` is called with (events done, events there); `resume` is a file in which to keep where the
    verification stands, and from which it goes on.
    """

    ring: Ring | None = None
    public_key: bytes | None = None
    held: str | None = None
    progress: Progress | None = None
    resume: Path | None = None

    @property
    def key(self) -> bytes | None:
        return self.ring.public_key if self.ring is not None else self.public_key


def verify(
    path: Path,
    *,
    ring: Ring | None = None,
    public_key: bytes | None = None,
    held: str | None = None,
    progress: Progress | None = None,
    resume: Path | None = None,
) -> Verdict:
    """Check a `ledger.sqlite` without writing anything: beside a running server, on a copy, in a read-only folder.

    See `Means`. Whatever the bytes are, the answer is a verdict.
    """
    return verify_file(path, Means(ring, public_key, held, progress, resume))


def verify_file(path: Path, means: Means) -> Verdict:
    """The same."""
    quiet = not _in_use(path)
    verdict = verify_opened(partial(opened, path), means)
    if not verdict.ok and quiet and _in_use(path):
        # It was read as a file at rest, and a server has begun to write meanwhile: read it again as one in use.
        return verify_opened(partial(opened, path), means)
    return verdict


def verify_opened(open_ledger: Opener, means: Means) -> Verdict:
    """The same for a ledger anywhere. One that was verified before is gone on with where that stood; where anything is
    then found, all of it is read, so that the first bad event is the first."""
    warnings: list[str] = []
    saved = None
    if means.resume is not None:
        try:
            saved = load(means.resume, means.ring)
        except NotUsable as error:
            warnings.append(f"{means.resume.name}: {error}; verified from the first event on")
    if saved is not None:
        verdict = _Run(means, start=saved).verdict(open_ledger)
        if verdict.ok:
            return verdict
        warnings.append("something is not as it was verified before; verified from the first event on")
    verdict = _Run(means, known=saved).verdict(open_ledger)
    return replace(verdict, warnings=(*warnings, *verdict.warnings))


def _in_use(path: Path) -> bool:
    with suppress(OSError):
        return has_log(path)
    return False


class _Run:
    """The state of one pass over the events, from the first on or from where `start` stood; of a state that is `known`
    only the checkpoint is believed, as one that is held, and it is kept until nothing contradicts it."""

    def __init__(self, means: Means, *, start: Saved | None = None, known: Saved | None = None) -> None:
        self._means, self._saved, self._known = means, start, known
        self._findings = Findings()
        self._roots = start.roots() if start else Roots()
        self._checkpoints: CheckpointCheck | None = None
        self._keeper = Keeper(means.resume, means.ring, at_once=known is None)
        self._vouched_by_ring = False
        self._pending = 0

    def verdict(self, open_ledger: Opener) -> Verdict:
        """Check all there is."""
        try:
            with open_ledger() as source:
                self._check(source)
        except (Unreadable, OSError) as error:
            self._findings.add(f"the ledger cannot be read further: {error}", self._roots.size + 1)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
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
        if self._keeper.problem:
            yield f"where the verification stands could not be kept: {self._keeper.problem}"

    def _check(self, source: Source) -> None:
        # 1. The ledger is of a known format.
        version = source.format()
        if version != FORMAT:
            self._findings.add(f"the format is {version}, not {FORMAT}: no ledger, or of a newer version", 1)
            return
        # 2. Checkpoints, the held ones among them, are well-formed and signed: each is read when its size is reached.
        origin = self._single(source, "SELECT origin FROM log")
        held = notes_in(self._means.held, origin) if self._means.held is not None else []
        known = self._known.checkpoint if self._known else None
        checkpoints = CheckpointCheck(source, self._findings, origin, self._means.key, self._roots.size)
        checkpoints.hold(held, known)
        self._checkpoints = checkpoints
        # 3. Every event: its number, its bytes, its place in its exchange with its content, the roots on the way.
        content = ContentCheck(source, self._findings, self._means.ring)
        order = OrderCheck(self._findings, content.rows_of, content.taken_away)
        if self._saved:
            self._go_on(self._saved, origin, order, content, checkpoints)
        self._events(source, order, content, checkpoints)
        # 4. What is stored beside the events agrees with them.
        checkpoints.finish(self._roots.size)
        self._tree(source, origin, checkpoints.vouched)
        listed = list(source.rows("SELECT audit_id, number FROM open_exchanges"))
        if sorted(listed, key=repr) != sorted(order.open_chats().items(), key=repr):
            self._findings.add("the list of open exchanges is not the one of the events")
        content.finish({**order.open_chats(), **self._waiting(source)})

    def _go_on(
        self, saved: Saved, origin: str, order: OrderCheck, content: ContentCheck, checkpoints: CheckpointCheck
    ) -> None:
        """Put the checks where they stood. Whatever does not fit is a finding: then all is read from the first on."""
        skipped = checkpoints.held_before(saved.size)
        if saved.origin != origin or (skipped and digest_of(skipped) != saved.held):
            self._findings.add("it is another ledger, or is held against other checkpoints than before")
        order.restore(saved.order)
        content.restore(saved.content)

    def _events(self, source: Source, order: OrderCheck, content: ContentCheck, checkpoints: CheckpointCheck) -> None:
        progress, roots = self._means.progress, self._roots
        total = next(source.rows("SELECT max(number) FROM events"))[0] or 0
        if checkpoints.due <= roots.size:
            checkpoints.compare(roots)
        for number, leaf, event in source.rows(_EVENTS, roots.size):
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

    def _event(self, order: OrderCheck, number: int, leaf: object, event: Any) -> None:
        if type(event) is not bytes:
            self._findings.add("it is not stored as bytes", number)
            event = str(event).encode()
        computed = leaf_hash(event)
        if computed != leaf:
            self._findings.add("its bytes do not have the hash stored with them", number)
        self._roots.add(computed)
        order.check(number, event)

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
                    checked="unchecked" if self._means.ring is None else "checked",
                    held=digest_of(checkpoints.held_before(note.size)),
                )
            )

    def _tree(self, source: Source, origin: str, vouched: int) -> None:
        """The stored tree is the one of the events; and, with a ring, whoever committed it had that ring."""
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
            except (msgspec.DecodeError, UnicodeDecodeError):
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
