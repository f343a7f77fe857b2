"""The engines: vectors, embeddings, models and conversion."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from usher.core.fusion import Found, SparseVector
from usher.core.late import TokenVectors
from usher.core.prompt import PromptPassage
from usher.core.scope import ScopeTooWide as ScopeTooWide

Vector = NDArray[np.float32]
"""A dense embedding: shape (dimensions,), unit length."""


@dataclass(frozen=True, slots=True)
class Point:
    """One chunk as the store holds it: vectors, ids and one access class. Never any text."""

    chunk: UUID
    document: UUID
    access_class: int
    dense: Vector
    sparse: SparseVector


@dataclass(frozen=True, slots=True)
class StoreBatch:
    """Changes applied in this order: `delete`, `upsert`, `move` (chunk ids -> access class)."""

    delete: Sequence[UUID] = ()
    upsert: Sequence[Point] = ()
    move: Sequence[tuple[Sequence[UUID], int]] = ()


class StoreUnavailable(Exception):
    """The vector store did not answer, or its process is gone. The request ends unanswered."""


class Store(Protocol):
    """Vectors by access class: the only gate to passages.

    `search` returns only chunks whose access class is in `classes` (sorted, distinct, positive; class 0 is never
    in a scope); an empty `classes` returns nothing without asking the engine. Each list holds the `k` best and
    every chunk that ties with the k-th after rounding to 1e-4. Equal calls on an unchanged store are equal.
    `write` is durable when it returns, and idempotent: absent ids in `delete` and `move` are ignored.
    """

    async def search(self, classes: Sequence[int], dense: Vector, sparse: SparseVector, k: int) -> Found: ...

    async def write(self, batch: StoreBatch) -> None: ...

    async def count(self) -> int:
        """Chunks in the store, those of class 0 too: cheap, and proof that it answers."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text as one vector, and as the vectors of the tokens in it that say something (at least one)."""

    vector: Vector
    tokens: TokenVectors


class Embedder(Protocol):
    """Texts to unit vectors. Equal texts give equal bytes, whatever else is in the call."""

    model: str
    """Model id, kept with the index; an index of another model is refused."""
    precision: str
    dimensions: int
    local: bool
    """True if no text leaves this process (the first barrier may overlap the embedding only then)."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]: ...

    async def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """`embed` with the token vectors, at the cost of the same pass."""

    def count_tokens(self, text: str) -> int: ...


@dataclass(slots=True)
class Window:
    """Until when parts of an answer may wait for company: `due`, by `time.monotonic`. It moves while the answer flows;
    the answer's end waits for nothing."""

    due: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One generation. `messages` is the assembled prompt (OpenAI roles and contents); `question` and `passages` are
    the same content apart, for an answerer that quotes instead of generating. What comes before the `window` is due
    need not be given before: whoever asked takes nothing until then."""

    messages: tuple[Mapping[str, str], ...]
    question: str
    passages: tuple[PromptPassage, ...]
    max_tokens: int
    temperature: float = 0.0
    adapter: str | None = None
    cache_salt: str | None = None
    window: Window = field(default_factory=Window, compare=False)


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer; the last one carries `finish_reason` and, where known, the token counts."""

    text: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class ModelUnavailable(Exception):
    """The model server did not answer, or stopped answering; `started` tells if deltas had come before."""

    def __init__(self, message: str, *, started: bool = False) -> None:
        super().__init__(message)
        self.started = started


class Model(Protocol):
    """Answers a prompt. `stream` raises `ModelUnavailable`; closing the iterator aborts the generation."""

    name: str
    context_tokens: int
    generative: bool
    """True if it does what `messages` say; False if it only quotes `passages`."""

    def count_tokens(self, text: str) -> int: ...

    def stream(self, request: ModelRequest) -> AsyncIterator[Delta]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Converted:
    """A document's text as Markdown and what is known of it. `text` may be empty (a document without text)."""

    text: str
    title: str
    media_type: str
    notes: tuple[str, ...] = field(default=())


class ConversionFailed(Exception):
    """A file could not be converted; the message says why and the remedy, and never quotes the file."""


class Converter(Protocol):
    """Bytes of a file to text, apart from this process: a hostile file fails alone, within its limits."""

    async def convert(self, data: bytes, suffix: str, name: str) -> Converted: ...

    async def close(self) -> None: ...
