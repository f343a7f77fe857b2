"""Near-duplicates: texts that say nearly the same words.

Two texts are alike by the share of their runs of words (shingles) that they have in common. `datasketch` finds who
could be alike without comparing all with all; whoever it finds is then compared exactly, so that chance decides only
which pairs are missed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from usher_lora.faults import AdapterFault

ALIKE: Final = 0.8
"""The share of shingles from which on two texts are near-duplicates."""
INSIDE: Final = 0.8
"""The share of a text's shingles found in others from which on it is inside them."""
RUN: Final = 3
"""Words of a shingle."""
PERMUTATIONS: Final = 64

_WORDS: Final = re.compile(r"\w+")

Shingles = frozenset[int]


def shingles(text: str, run: int = RUN) -> Shingles:
    """Each run of words, as 64 bits of its hash. A text that is shorter than a run is one shingle."""
    words = _WORDS.findall(text.casefold())
    runs = (" ".join(words[at : at + run]) for at in range(max(len(words) - run + 1, 1)))
    return frozenset(int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest(), "big") for one in runs)


def likeness(one: Shingles, other: Shingles) -> float:
    return len(one & other) / len(one | other)


def inside(text: Shingles, others: set[int], share: float = INSIDE) -> bool:
    """Whether so much of the text is among the shingles of others."""
    return len(text & others) >= share * len(text)


class Near:
    """Texts that were added, by their places. Not a value: `add` adds to it."""

    def __init__(self, alike: float = ALIKE) -> None:
        sketch = _datasketch()
        self._alike = alike
        self._likely: Any = sketch.MinHashLSH(threshold=alike, num_perm=PERMUTATIONS)
        self._blank: Any = sketch.MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=_low)
        self._texts: list[Shingles] = []

    def sketch(self, text: Shingles) -> Any:
        """What it is found by."""
        sketch = self._blank.copy()
        sketch.update_batch(sorted(text))
        return sketch

    def likely(self, sketch: Any) -> list[int]:
        """The places of the texts that could be alike."""
        return sorted(self._likely.query(sketch))

    def add(self, text: Shingles, sketch: Any) -> None:
        """It gets the next place."""
        self._likely.insert(len(self._texts), sketch)
        self._texts.append(text)

    def alike(self, place: int, text: Shingles) -> bool:
        return likeness(self._texts[place], text) >= self._alike


def first_of_each(texts: Iterable[Shingles], alike: float = ALIKE) -> list[bool]:
    """For each text whether no earlier one of these is nearly the same. A thousand that are alike are each compared
    with the first alone."""
    near = Near(alike)
    return [_first(near, text) for text in texts]


def _first(near: Near, text: Shingles) -> bool:
    sketch = near.sketch(text)
    first = not any(near.alike(place, text) for place in near.likely(sketch))
    if first:
        near.add(text, sketch)
    return first


def clusters(texts: Sequence[Shingles], alike: float = ALIKE) -> list[int]:
    """For each text the number of its cluster: the place of the first text in it. What is alike to two joins them; with
    what is joined already nothing is compared again."""
    near, joined = Near(alike), list(range(len(texts)))
    for place, text in enumerate(texts):
        sketch = near.sketch(text)
        for other in near.likely(sketch):
            one, two = sorted((_root(joined, place), _root(joined, other)))
            if one != two and near.alike(other, text):
                joined[two] = one
        near.add(text, sketch)
    return [_root(joined, place) for place in range(len(texts))]


def _root(joined: list[int], place: int) -> int:
    while joined[place] != place:
        joined[place] = joined[joined[place]]
        place = joined[place]
    return place


def _low(shingle: int) -> int:
    """What `datasketch` permutes: it wants 32 bits."""
    return shingle & 0xFFFFFFFF


def _datasketch() -> Any:
    try:
        import datasketch  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        remedy = "install it with Usher's extra `datasets`: pip install 'usher[datasets]'"
        raise AdapterFault("datasketch", "is not installed, and finds near-duplicates", remedy) from None
    return datasketch
