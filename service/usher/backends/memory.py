"""In-memory backends of the ports: no files, no processes, no model. They pass the same contract suites."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from usher.ports import Vector


class HashEmbedder:
    """The `Embedder` port without a model: words hashed to signed places, so texts that share words are near.

    Deterministic across processes and machines (feature hashing: Weinberger et al. 2009).
    """

    model = "hashed-words@1"
    precision = "fp32"
    local = True

    def __init__(self, dimensions: int = 64) -> None:
        self.dimensions = dimensions

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        return [self._embed_one(text) for text in texts]

    def count_tokens(self, text: str) -> int:
        return len(_words(text))

    def _embed_one(self, text: str) -> Vector:
        vector = np.zeros(self.dimensions, dtype=np.float32)
        for word in _words(text) or [""]:
            digest = int.from_bytes(hashlib.blake2b(word.encode(errors="replace"), digest_size=8).digest())
            vector[digest % self.dimensions] += 1.0 if digest >> 63 else -1.0
        length = float(np.linalg.norm(vector))
        if length == 0.0:  # words that cancel each other out
            vector[0] = length = 1.0
        return vector / np.float32(length)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
