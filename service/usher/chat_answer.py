"""An answer as it flows: its citations checked, then cleaned; and what the record says of it at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from usher.core.citations import Citer
from usher.core.cited import Cited
from usher.core.clean import Cleaner
from usher.core.passages import Passage
from usher.core.prompt import NO_ANSWER
from usher.ports import Delta

WHOLE = frozenset({"answered", "no_answer"})
"""Outcomes of answers that were given to their end."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A cited passage: `n` is its number in the answer."""

    n: int
    passage: Passage
    score: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The last thing a stream gives. `outcome`: answered, no_answer, model_unavailable, cancelled, or the reason of a
    denial that came while the answer flowed."""

    outcome: str
    finish_reason: str
    citations: tuple[Citation, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def whole(self) -> bool:
        """True if the answer was given to its end."""
        return self.outcome in WHOLE


class Answer:
    """Feed it what the model says; show and record what it returns. `used` are the citation numbers in the prompt."""

    def __init__(
        self, passages: Iterable[Passage], scores: Mapping[UUID, float], used: Iterable[int], link_hosts: Iterable[str]
    ) -> None:
        self._passages = tuple(passages)
        self._scores = scores
        self._citer = Citer(used)
        self._cleaner = Cleaner(link_hosts)
        self._text: list[str] = []
        self._last = Delta()

    def feed(self, delta: Delta) -> str:
        if delta.finish_reason:
            self._last = delta
        return self._kept(self._cleaner.feed(self._citer.feed(delta.text)))

    def finish(self) -> str:
        """What was held back."""
        return self._kept(self._cleaner.feed(self._citer.finish()) + self._cleaner.finish())

    @property
    def text(self) -> str:
        """What was given so far."""
        return "".join(self._text)

    def ended(self) -> Ended:
        nothing = self.text.strip() == NO_ANSWER
        return Ended(
            outcome="no_answer" if nothing else "answered",
            finish_reason=self._last.finish_reason or "stop",
            citations=tuple(self._citations()),
            prompt_tokens=self._last.prompt_tokens or 0,
            completion_tokens=self._last.completion_tokens or 0,
        )

    def cited(self) -> tuple[Cited, ...]:
        """Which passages were cited so far."""
        return tuple(Cited(c.n, c.passage.document, c.passage.label.chunk) for c in self._citations())

    def facts(self) -> dict[str, Any]:
        """For the record: numbers and counts, no text."""
        return {
            "cited": list(self._citer.cited),
            "citations_dropped": self._citer.dropped,
            "removed": dict(self._cleaner.removed),
            "finish_reason": self._last.finish_reason,
            "prompt_tokens": self._last.prompt_tokens,
            "completion_tokens": self._last.completion_tokens,
        }

    def _kept(self, text: str) -> str:
        self._text.append(text)
        return text

    def _citations(self) -> list[Citation]:
        cited = [(n, self._passages[n - 1]) for n in self._citer.cited]
        return [Citation(n, passage, self._scores[passage.label.chunk]) for n, passage in cited]
