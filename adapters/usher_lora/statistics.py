"""How well an attack tells members from others, and how deep a canary sits: figures with what they are worth.

The area under the ROC curve is the chance that a member scores above another, ties counted half (Mann and Whitney).
Its interval is DeLong's (DeLong, DeLong and Clarke-Pearson, Biometrics 1988; computed by ranks as Sun and Xu, IEEE
Signal Processing Letters 2014). Where the sample shows no variance, as when all members score above all others, that
interval would have no width: then it is Wilson's for the smaller of the two samples. Exposure of a canary is that of
Carlini et al., The Secret Sharer, USENIX Security 2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
"""The confidence of an interval."""


@dataclass(frozen=True, slots=True)
class Auc:
    """An area with its interval: 0 <= low <= auc <= high <= 1."""

    auc: float
    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low


def auc(members: Sequence[float] | Floats, others: Sequence[float] | Floats, level: float = LEVEL) -> Auc:
    """The area for scores that should be higher for members, with its interval at `level`.

    Raises `ValueError` for fewer than two of either, or a score that is no finite number.
    """
    inside, outside = _scores("members", members), _scores("others", others)
    of_members, of_others = _placements(inside, outside)
    area = float(of_members.mean())
    variance = float(of_members.var(ddof=1) / len(inside) + of_others.var(ddof=1) / len(outside))
    z = NormalDist().inv_cdf(0.5 + level / 2)
    if variance <= 1e-15:
        low, high = _wilson(area, min(len(inside), len(outside)), z)
    else:
        low, high = area - z * math.sqrt(variance), area + z * math.sqrt(variance)
    return Auc(area, min(area, max(0.0, low)), max(area, min(1.0, high)))


def needed(width: float, level: float = LEVEL) -> int:
    """How many of each an interval of at most this width needs for an attack that is no better than a guess.

    At an area of one half DeLong's variance is (1/members + 1/others) / 12. Raises `ValueError` for a width of none.
    """
    if not 0 < width <= 1:
        raise ValueError("width: not above 0 and at most 1; give such as 0.1")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    return max(2, math.ceil((2 * z / width) ** 2 / 6))


def exposure(canary: float, references: Sequence[float] | Floats) -> float:
    """How many bits of a canary the model gives away: log2 of the candidates less log2 of its rank among them.

    `canary` and `references` (candidates that were never planted) are losses; of equal ones the canary counts as the
    first. The most that n references can show is log2(n + 1), which one in n + 1 canaries reaches by chance. Raises
    `ValueError` for no reference or a loss that is no finite number.
    """
    drawn = _scores("references", references, least=1)
    if not math.isfinite(canary):
        raise ValueError("canary: its loss is no finite number; look at the model that gave it")
    rank = 1 + int(np.count_nonzero(drawn < canary))
    return math.log2(len(drawn) + 1) - math.log2(rank)


def _scores(name: str, values: Sequence[float] | Floats, least: int = 2) -> Floats:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or len(scores) < least:
        raise ValueError(f"{name}: fewer than {least} in a row; measure more of them")
    if not np.isfinite(scores).all():
        raise ValueError(f"{name}: not all are finite numbers; look at the model that gave them")
    return scores


def _placements(inside: Floats, outside: Floats) -> tuple[Floats, Floats]:
    """For each member the share of the others below it, for each other the share of members above; ties are half."""
    return _below(inside, outside), 1.0 - _below(outside, inside)


def _below(values: Floats, among: Floats) -> Floats:
    ordered = np.sort(among)
    fewer = np.searchsorted(ordered, values, side="left")
    at_most = np.searchsorted(ordered, values, side="right")
    return np.asarray((fewer + at_most) / (2.0 * len(among)), dtype=np.float64)


def _wilson(share: float, n: int, z: float) -> tuple[float, float]:
    """Wilson's interval of a share that was seen in n trials (J. Am. Stat. Assoc., 1927)."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half
