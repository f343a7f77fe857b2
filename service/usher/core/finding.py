"""Words found again in what a person asked and was answered: compared as they read, whatever their case."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from usher.errors import UserError

MAX_QUERY = 200
"""Characters of what is searched for."""
MAX_WORDS = 20
BEFORE, AROUND = 60, 280
"""Characters of a snippet before its first match, and in all."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of a text, and where the words stand in it: from, to, in characters (Unicode code points)."""

    text: str
    matches: tuple[tuple[int, int], ...]


def words_of(query: str) -> tuple[str, ...]:
    """The words to look for, each once, as `holds` compares them. Raises `UserError`."""
    if len(query) > MAX_QUERY:
        raise UserError("q", f"has {len(query)} characters, more than {MAX_QUERY}", "give a few words")
    words = tuple(dict.fromkeys(_folded(query).split()))
    if not words:
        raise UserError("q", "is empty", "give the words that you look for")
    if len(words) > MAX_WORDS:
        raise UserError("q", f"has {len(words)} words, more than {MAX_WORDS}", "give a few words")
    return words


def holds(words: Sequence[str], texts: Sequence[str]) -> bool:
    """True if each of the words stands in one of the texts, also within a longer word."""
    folded = [_folded(text) for text in texts]
    return all(any(word in text for text in folded) for word in words)


def snippet(words: Sequence[str], text: str) -> Snippet:
    """The text's piece around its first match; its beginning if there is none."""
    shown = unicodedata.normalize("NFC", text)
    found = _places(words, shown)
    start = _word_begins(shown, max(found[0][0] - BEFORE, 0)) if found else 0
    end = start + AROUND
    inside = tuple((first - start, last - start) for first, last in found if first >= start and last <= end)
    return Snippet(shown[start:end], inside)


def most_of(words: Sequence[str], texts: Sequence[str]) -> int:
    """Which text has most of the words; the first of several."""
    counts = [sum(word in folded for word in words) for folded in map(_folded, texts)]
    return counts.index(max(counts))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _places(words: Sequence[str], shown: str) -> list[tuple[int, int]]:
    """Where the words stand, in order, each place once. One character may fold to several."""
    origin = [place for place, character in enumerate(shown) for _ in character.casefold()]
    folded = shown.casefold()
    found: list[tuple[int, int]] = []
    for word in words:
        at = folded.find(word)
        while at >= 0:
            found.append((origin[at], origin[at + len(word) - 1] + 1))
            at = folded.find(word, at + len(word))
    return _merged(found)


def _merged(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(places):
        if merged and first < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _word_begins(text: str, place: int) -> int:
    """The next place, within some characters, after white space."""
    if place == 0:
        return 0
    space = next((at for at in range(place, place + BEFORE // 2) if text[at].isspace()), None)
    return place if space is None else space + 1
