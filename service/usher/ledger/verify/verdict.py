"""What a verification is given, and what it says in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from usher.ledger.verify.content import Ring

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Means:
    """What a verification is given.

    `ring` opens content and has the checkpoints' key; `public_key` is that key alone (with neither, the key stored with
    the ledger is used, which shows damage but no forger); `held` is the text of one or more checkpoints kept
    elsewhere, `known` that of one that is kept beside the ring and need not be of this ledger; `progress` is called
    with (events done, events there); `resume` is a file in which to keep where the verification stands, and from which
    it goes on.
    """

    ring: Ring | None = None
    public_key: bytes | None = None
    held: str | None = None
    progress: Progress | None = None
    resume: Path | None = None
    known: str | None = None

    @property
    def key(self) -> bytes | None:
        return self.ring.public_key if self.ring is not None else self.public_key


@dataclass(frozen=True, slots=True)
class Trust:
    """Events 1 to `events` are what somebody vouched for: by a checkpoint that is `held` elsewhere, by one that is
    `stored` with them, or by the MAC of the last commit, which needs the key `ring`. `checkpoint` is the note."""

    events: int
    by: Literal["held", "stored", "ring"]
    checkpoint: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. `size` and `root` are of the events that are there, `checkpoint` is the newest stored note.

    `first_bad` is the number of the first event that is known to be missing or changed, or else of the first one that
    is no longer vouched for; it is None where nothing is wrong or what is wrong is no event. `trusted` says which
    events can be relied on all the same, and by whose word, the strongest first. `content` says if commitments to
    plaintext were checked; rows and ciphertexts always are. `signatures` says whose key they were checked with: the
    ring's, the one given, or only the file's own, which any forger can put there. `uncovered` counts the last events,
    which no checkpoint covers: with the ring they are known to be its server's, without it nothing vouches for them.
    `pending` counts what is acknowledged and has no place in the tree yet; `open` counts answers that have not ended,
    to whose parts no event commits yet. Where `resumed_from` is not 0, events 1 to that number were not read again.
    `warnings` say what limits the verdict.
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
    trusted: tuple[Trust, ...] = ()
    pending: int = 0
    open: int = 0
    resumed_from: int = 0
    warnings: tuple[str, ...] = ()
