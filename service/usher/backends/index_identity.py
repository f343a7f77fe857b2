"""What a vector index was made with: vectors of two models, or of two precisions of one, must never meet in one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from usher.ports import Embedder, Point


class IndexRefused(Exception):
    """The index cannot be opened: made by another model, held by another process, or on an engine unfit for it.

    The message says which, and the remedy.
    """


@dataclass(frozen=True, slots=True)
class IndexIdentity:
    """Kept with the index, and compared at each start."""

    model: str
    precision: str
    dimensions: int

    @classmethod
    def of(cls, embedder: Embedder) -> Self:
        return cls(embedder.model, embedder.precision, embedder.dimensions)

    def record(self) -> dict[str, Any]:
        return asdict(self)

    def check(self, recorded: dict[str, Any], where: str) -> None:
        """Raises `IndexRefused` if `recorded` is not this identity."""
        wrong = [f"{name} {recorded.get(name)!r}, not {ours!r}" for name, ours in asdict(self).items()
                 if recorded.get(name) != ours]  # fmt: skip
        if wrong:
            raise IndexRefused(
                f"The vector index {where} was made with {', '.join(wrong)}. Set the embedder that made it, or move the"
                " index away and ingest the documents again."
            )

    def check_points(self, points: Iterable[Point]) -> None:
        """Raises `ValueError` for a point that could not be stored as it is, or would spoil others' scores."""
        for point in points:
            if point.dense.shape != (self.dimensions,) or not abs(np.linalg.norm(point.dense) - 1) < 1e-3:
                raise ValueError(f"dense: chunk {point.chunk} needs {self.dimensions} numbers and length 1")
            check_weights(point)


def check_weights(point: Point) -> None:
    """Raises `ValueError` unless the sparse vector has distinct terms with positive weights, and the class is none
    below 0. (The store finds a term's rarity by dividing by its weight.)"""
    terms, weights = point.sparse.indices, point.sparse.values
    if len(terms) != len(weights) or len(set(terms)) != len(terms):
        raise ValueError(f"sparse: chunk {point.chunk} needs distinct terms, and one weight for each")
    if not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise ValueError(f"sparse: chunk {point.chunk} needs weights that are finite and above 0")
    if point.access_class < 0:
        raise ValueError(f"access_class: chunk {point.chunk} has {point.access_class}, and ids start at 0")
