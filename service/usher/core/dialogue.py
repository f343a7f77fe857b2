"""What came before in a conversation: which exchanges a prompt may hold, and in which words.

A past exchange is whole and permitted, or a fixed placeholder stands in its place: one for any number of hidden
exchanges that follow each other, so that it tells neither how many there were nor anything of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")

HIDDEN = "An earlier part of this conversation is not shown: it was made of documents that you may not read now."
"""The same words for every exchange that may not be shown again, on the screen and in a prompt."""

MAX_TITLE = 80
"""Characters of a title that is made from a question."""

_CITATION = re.compile(r"\[[\d\s,;\u2013-]+\]")
_SPACED_CITATION = re.compile(r"(?<![ \t])[ \t]*" + _CITATION.pattern)
"""Looked for where a run of blanks begins: from each of its blanks it would take time squared."""


@dataclass(frozen=True, slots=True)
class Past:
    """An exchange of which something was answered: texts as recorded, exposures packed (`core/exposures.py`)."""

    exchange: UUID
    question: str
    answer: str
    exposures: bytes


Earlier = Past | None
"""None: hidden."""


def normalized(text: str) -> str:
    """A text as it is recognised again: NFC, without citations and white space, which clients change."""
    return "".join(_CITATION.sub("", unicodedata.normalize("NFC", text)).split())


def without_citations(answer: str) -> str:
    """An answer for a later prompt, whose passages have other numbers."""
    return _SPACED_CITATION.sub("", answer).strip()


def runs_collapsed(earlier: Iterable[T | None]) -> list[T | None]:
    """The same, with one None for each run of them: a placeholder, whatever number of exchanges it hides."""
    kept: list[T | None] = []
    for past in earlier:
        if past is not None or not kept or kept[-1] is not None:
            kept.append(past)
    return kept


def newest_that_fit(earlier: Sequence[Earlier], tokens: int, cost: Callable[[Earlier], int]) -> list[Earlier]:
    """The newest exchanges, oldest first, that together cost at most `tokens`: whole ones only, none left out in
    between."""
    collapsed = runs_collapsed(earlier)
    first = len(collapsed)
    while first and (price := cost(collapsed[first - 1])) <= tokens:
        tokens -= price
        first -= 1
    return collapsed[first:]


def turns(past: Earlier) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """A past exchange as a model is shown it: a user and an assistant message."""
    question, answer = (HIDDEN, HIDDEN) if past is None else (past.question, without_citations(past.answer))
    return {"role": "user", "content": question}, {"role": "assistant", "content": answer}


def title_of(question: str) -> str:
    """A title for a conversation that begins with this question: its first words, on one line, without invisible and
    control characters."""
    shown = "".join(c if not unicodedata.category(c).startswith("C") else " " for c in question)
    words = " ".join(shown.split())
    if len(words) <= MAX_TITLE:
        return words or "…"
    head = words[: MAX_TITLE - 1]
    return (head.rsplit(" ", 1)[0] if " " in head[MAX_TITLE // 2 :] else head).rstrip(" ,;:.-") + "…"
