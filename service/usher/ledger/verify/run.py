"""One verification: a ledger from its first event to its last, streamed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from usher.ledger.record import FORMAT, leaf_hash, tail_text
from usher.ledger.verify.checkpoints import CheckpointCheck
from usher.ledger.verify.content import ContentCheck, Ring
from usher.ledger.verify.file import has_log, opened
from usher.ledger.verify.findings import Findings
from usher.ledger.verify.order import OrderCheck
from usher.ledger.verify.resume import NotUsable, Saved, SavePoint, load
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
    means, quiet = Means(ring, public_key, held, progress, resume), not _in_use(path)
    verdict = verify_opened(partial(opened, path), means)
    if not verdict.ok and quiet and _in_use(path):
        # It was read as a file at rest, and a server has begun to write meanwhile: read it again as one in use.
        return verify_opened(partial(opened, path), means)
    return verdict


def verify_opened(open_ledger: Opener, means: Means) -> Verdict:
    """The same for a ledger anywhere. One that was verified before is gone on with where that stood; where anything is
    then found, all of it is read, so that the first bad event is the first."""
    warnings, saved = [], None
    if means.resume is not None:
        try:
            saved = load(means.resume, means.ring)
        except NotUsable as error:
            warnings.append(f"{means.resume.name}: {error}; verified from the first event on")
    if saved is not None:
        verdict = _Run(means, saved).verdict(open_ledger)
        if verdict.ok:
            return verdict
        held = "\n".join([*([means.held] if means.held else []), saved.checkpoint])
        means = replace(means, held=held)
        warnings.append("something is not as it was verified before; verified from the first event on")
    verdict = _Run(means, None).verdict(open_ledger)
    return replace(verdict, warnings=(*warnings, *verdict.warnings))


def _in_use(path: Path) -> bool:
    with suppress(OSError):
        return has_log(path)
    return False
