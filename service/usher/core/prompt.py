"""The prompt of one exchange."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptPassage:
    """A passage as a model sees it: `n` is its citation number, from 1."""

    n: int
    title: str
    headings: tuple[str, ...]
    text: str
