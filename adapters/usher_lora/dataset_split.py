"""Which documents are learned, which are held out, and which stay outside: by document, at random within a collection.

Near-duplicates of each other go the same way, so that nothing of a test document is in training under another name.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Final
from uuid import UUID

from usher_lora.dataset_near import Shingles, clusters

ALIKE_DOCUMENTS: Final = 0.6
"""The share of shingles from which on two documents go the same way."""


class Part(StrEnum):
    """`TRAIN` is learned; `HELD_OUT` watches the training and asks about it; `OTHERS` are no members, for the
    attacks."""

    TRAIN = "train"
    HELD_OUT = "held_out"
    OTHERS = "others"


SHARES: Final[Mapping[Part, float]] = {Part.TRAIN: 0.6, Part.HELD_OUT: 0.2, Part.OTHERS: 0.2}


def split(
    documents: Sequence[tuple[UUID, str, Shingles]], seed: int, first: Collection[UUID] = frozenset()
) -> dict[UUID, Part]:
    """Each document's part; each is given with its collection and the shingles of its text. Those in `first` are
    trained, and what is nearly the same; the rest is drawn so that the shares come out. Equal documents and an equal
    seed give an equal split."""
    ordered = sorted(documents, key=lambda one: one[0])
    together: dict[int, list[UUID]] = defaultdict(list)
    shelves: dict[str, list[int]] = defaultdict(list)
    numbers = clusters([text for _, _, text in ordered], ALIKE_DOCUMENTS)
    for (document, collection, _), number in zip(ordered, numbers, strict=True):
        if number not in together:
            shelves[collection].append(number)
        together[number].append(document)
    chance = random.Random(seed)  # noqa: S311 - a split that can be made again, no secret
    owed = dict.fromkeys(Part, 0.0)
    found: dict[UUID, Part] = {}
    for some in together.values():
        if not set(first).isdisjoint(some):
            found |= dict.fromkeys(some, _next(owed, Part.TRAIN))
    for collection in sorted(shelves):
        chance.shuffle(shelves[collection])
        for number in shelves[collection]:
            if together[number][0] not in found:
                found |= dict.fromkeys(together[number], _next(owed))
    return found


def _next(owed: dict[Part, float], given: Part | None = None) -> Part:
    """The part that is furthest behind its share, or the one that is given."""
    for part, share in SHARES.items():
        owed[part] += share
    behind = given or max(owed, key=lambda part: round(owed[part], 9))
    owed[behind] -= 1
    return behind
