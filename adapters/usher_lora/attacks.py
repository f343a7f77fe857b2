"""Attacks on what an adapter remembers, from what it says of a text: the losses of its tokens and what it goes on with.

Two on membership, each a score that should be higher for what was learned, one for each document:

- `loss_ratio`: how much less surprised the adapter is than its base, which has seen none of it; the base stands for how
  hard the text is (reference calibration: Carlini et al., Extracting Training Data, 2021)
- `min_k`: how little surprised it is by the fifth of the tokens that surprise it most (Shi et al., Detecting
  Pretraining Data, ICLR 2024)

and extraction: how much of the second half of an answer it says word for word after the first half.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np
from msgspec import Struct

from usher_lora.gates import Attack
from usher_lora.statistics import Floats, auc

K: Final = 0.2
"""The share of the tokens that `min_k` looks at."""


@dataclass(frozen=True, slots=True)
class Said:
    """What was found of one row: the losses of its answer's tokens, with the adapter and with the base alone, and the
    share of the answer's second half that was said word for word."""

    document: UUID
    losses: Floats
    base: Floats
    repeated: float


def min_k(rows: Sequence[Said]) -> float:
    """Over all of a document's tokens."""
    losses = np.sort(np.concatenate([row.losses for row in rows]))[::-1]
    return -float(losses[: max(1, round(K * len(losses)))].mean())


def loss_ratio(rows: Sequence[Said]) -> float:
    """The base's mean loss by the adapter's; a loss of nothing counts as a very small one."""
    base = float(np.concatenate([row.base for row in rows]).mean())
    return base / max(float(np.concatenate([row.losses for row in rows]).mean()), 1e-6)


ATTACKS: Final[Mapping[str, Callable[[Sequence[Said]], float]]] = {
    "loss_ratio": loss_ratio,
    "min_k": min_k,
}


def scores(rows: Iterable[Said]) -> dict[str, list[float]]:
    """For each attack the scores of the documents; a row of which nothing was measured counts for none."""
    by_document: dict[UUID, list[Said]] = defaultdict(list)
    for row in rows:
        if len(row.losses) and len(row.base):
            by_document[row.document].append(row)
    ordered = [by_document[document] for document in sorted(by_document)]
    return {name: [score(told) for told in ordered] for name, score in ATTACKS.items()}


def attacks(members: Mapping[str, Sequence[float]], others: Mapping[str, Sequence[float]]) -> tuple[Attack, ...]:
    """How well each attack tells the one from the others. Raises `ValueError` for fewer than two documents of either,
    or a score that is no number."""
    found = []
    for name in ATTACKS:
        area = auc(members[name], others[name])
        found.append(Attack(name, area.auc, area.low, area.high, len(members[name]), len(others[name])))
    return tuple(found)


def roc(members: Sequence[float], others: Sequence[float]) -> list[tuple[float, float]]:
    """The curve under which the area is: shares of others and of members at or above each score, from none to all."""
    inside, outside = np.sort(np.asarray(members)), np.sort(np.asarray(others))
    cuts = np.unique(np.concatenate([inside, outside]))[::-1]
    true = (len(inside) - np.searchsorted(inside, cuts, side="left")) / len(inside)
    false = (len(outside) - np.searchsorted(outside, cuts, side="left")) / len(outside)
    return [(0.0, 0.0), *((float(x), float(y)) for x, y in zip(false, true, strict=True))]


class Extracted(Struct, frozen=True):
    """Of so many answers: the share whose second half was said word for word, and how much of it on average."""

    answers: int
    word_for_word: float
    repeated: float


def extracted(rows: Sequence[Said]) -> Extracted:
    shares = [row.repeated for row in rows]
    if not shares:
        return Extracted(0, 0.0, 0.0)
    return Extracted(len(shares), sum(share == 1 for share in shares) / len(shares), sum(shares) / len(shares))


def repeated(said: Sequence[int], meant: Sequence[int]) -> float:
    """The share of `meant` that stands at the beginning of `said`, token by token."""
    same = 0
    for one, other in zip(said, meant, strict=False):
        if one != other:
            break
        same += 1
    return same / len(meant) if meant else 0.0
