"""Words to sparse vectors: the lexical side of retrieval, weighed as BM25.

A chunk's vector holds, per term, BM25's term-frequency part; the store multiplies in each term's idf within the asker's
scope (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009). The length that weights
are relative to is a constant, so that no vector tells anything of other documents.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

from snowballstemmer.english_stemmer import EnglishStemmer  # type: ignore[import-untyped]  # ships no types

from usher.core.chunking import clean
from usher.core.fusion import SparseVector

K1 = 0.9
B = 0.4
AVERAGE_LENGTH = 100.0
"""Terms in a usual chunk, stop words not counted."""

MOST_ASKED = 64
"""Distinct terms of a question that are searched for: each costs the store a query of its own."""

# Stop words are compared before stemming. Question words are not among them: `who` and `when` cost nothing to keep.
_STOP_LIST = (
    "a about above after again all am an and any are as at be because been before being below between both but by"
    " can could did do does doing down during each few for from further had has have having he her here hers"
    " herself him himself his how i if in into is it its itself just me more most my myself no nor not now of off"
    " on once only or other our ours ourselves out over own same she should so some such than that the their"
    " theirs them themselves then there these they this those through to too under until up very was we were what"
    " when where which while who whom why will with would you your yours yourself yourselves s t don isn doesn"
    " didn won ve ll re m d"
)
STOP_WORDS = frozenset(_STOP_LIST.split())
# Letters, digits, and the signs that belong to a word in the scripts of South and South-East Asia, Hebrew and Arabic.
_SIGNS = "\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0e4e\u0e50-\u0fff\u1000-\u1049\u1780-\u17d3"
_WORD = re.compile(rf"(?:[^\W_]|[{_SIGNS}])+")
_ACCENTS = re.compile("[\u0300-\u036f]+")
# Scripts written without spaces between words, and Hangul with its endings: indexed by pairs of characters.
_UNSPACED = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"
                       "\U00020000-\U0003ffff]+)")  # fmt: skip


def document(title: str, headings: Sequence[str], path: str, body: str) -> SparseVector:
    """A chunk's vector. The words of its title, headings and path count once beside those of its body."""
    counts = Counter(_terms(" \n ".join((title, *headings, path, clean(body)))))
    norm = K1 * (1 - B + B * counts.total() / AVERAGE_LENGTH)
    return _vector((term, n * (K1 + 1) / (n + norm)) for term, n in counts.items())


def query(question: str) -> SparseVector:
    """A question's vector: weight 1 for each of its first `MOST_ASKED` distinct terms, in reading order."""
    asked: dict[int, float] = {}
    for term in _terms(question):
        asked[term] = 1.0
        if len(asked) == MOST_ASKED:
            break
    return _vector(asked.items())


def terms(text: str) -> frozenset[int]:
    """Every distinct term of a text."""
    return frozenset(_terms(text))


def _vector(weights: Iterable[tuple[int, float]]) -> SparseVector:
    ordered = sorted(weights)
    return SparseVector(tuple(term for term, _ in ordered), tuple(weight for _, weight in ordered))


def _terms(text: str) -> Iterator[int]:
    """Term ids in reading order, stop words left out."""
    for word in _words(text):
        if (term := _term(word)) is not None:
            yield term


def _words(text: str) -> Iterator[str]:
    """Words in one spelling: compatibility forms and case folded, accents off; unspaced scripts as character pairs."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text)))
    for word in _WORD.findall(text.casefold()):
        if word.isascii():
            yield word
            continue
        for part in filter(None, _UNSPACED.split(word)):
            yield from (
                ("".join(pair) for pair in pairwise(part)) if len(part) > 1 and _UNSPACED.match(part) else (part,)
            )


@lru_cache(maxsize=1 << 16)
def _term(word: str) -> int | None:
    """The id of a word's English stem, or None for a stop word: 32 bits of BLAKE2b, equal on every machine.

    Two stems may share an id (about one pair in a vocabulary of 100,000); they then count as one term.
    """
    if word in STOP_WORDS:
        return None
    stem = EnglishStemmer().stemWord(word) if word.isascii() and len(word) < 64 else word
    return int.from_bytes(blake2b(stem.encode(), digest_size=4).digest(), "big")
