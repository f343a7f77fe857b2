"""What a verification says in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
    `pending` counts what is acknowledged and has no place in the tree yet. Where `resumed_from` is not 0, events 1 to
    that number were not read again. `warnings` say what limits the verdict.
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
    resumed_from: int = 0
    warnings: tuple[str, ...] = ()
