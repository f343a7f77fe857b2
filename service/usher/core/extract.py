"""Which sentences of the passages answer a question, if any: decided by shared words and, where known, by meaning."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from usher.core.lexical import terms
from usher.core.prompt import PromptPassage
from usher.core.sentences import Sentence, split

MOST_SENTENCES = 600
"""Sentences looked at for one question, over all passages, best passages first."""
MOST_QUOTED = 3
BACKGROUND = 40

# Fitted on half of SQuAD 2.0 and on handbook questions, each with the passage that answers it and without (logistic
# regression gives nearly the same weights); a wrong quotation is counted half as bad as a right one is good.
SIMILARITY_WEIGHT = 1.5
SUITS = 0.25
RANK_COST = 0.02
THRESHOLD = 1.5
THRESHOLD_BY_WORDS = 0.7
NEAR_BEST = 0.3

_NUMBER_WANTED = re.compile(
    r"\b(?:how (?:many|much|long|old|often|far|big|large)|when|what (?:year|date|percentage))\b", re.I
)
_NUMBER_WORDS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty|sixty|ninety"
    "|hundred|thousand|million"
)
_NUMBER = re.compile(rf"\d+(?:[.,:/]\d+)*|\b(?:{_NUMBER_WORDS})\b", re.I)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that could answer. `n` is its passage's citation number, `rank` the passage's place (0 is best),
    `position` the sentence's place in it. `coverage` is the share of the question's words, weighted by rarity, that
    the sentence with its context holds; `suits` is False if the question asks for a number and it has none."""

    n: int
    rank: int
    position: int
    text: str
    embed_text: str
    coverage: float
    suits: bool


def candidates(question: str, passages: Sequence[PromptPassage]) -> list[Candidate]:
    """Every sentence of the passages (best passage first), at most `MOST_SENTENCES`."""
    asked = terms(_NUMBER_WANTED.sub(" ", question))
    read = list(islice(_read(passages, asked), MOST_SENTENCES))
    weights = _rarity([sentence.own for sentence in read], asked)
    total = sum(weights.values()) or 1.0
    wants_number = _NUMBER_WANTED.search(question) is not None
    return [
        Candidate(
            n=s.passage.n,
            rank=s.rank,
            position=s.position,
            text=s.sentence.text,
            embed_text=" ".join(part for part in (s.sentence.context, s.sentence.text) if part),
            coverage=(sum(weights[t] for t in s.own) + 0.5 * sum(weights[t] for t in s.around)) / total,
            suits=not wants_number or _NUMBER.search(s.sentence.text) is not None,
        )
        for s in read
    ]


@dataclass(frozen=True, slots=True)
class _Read:
    """A sentence in its place, with the asked terms that it holds itself and those that only stand around it."""

    rank: int
    position: int
    passage: PromptPassage
    sentence: Sentence
    own: frozenset[int]
    around: frozenset[int]


def _read(passages: Sequence[PromptPassage], asked: frozenset[int]) -> Iterator[_Read]:
    for rank, passage in enumerate(passages):
        place = asked & terms(" ".join((passage.title, *passage.headings)))
        before: frozenset[int] = frozenset()
        for position, sentence in enumerate(split(passage.text)):
            own = asked & terms(sentence.text)
            around = (place | before | asked & terms(sentence.context)) - own
            before = own
            if not sentence.text.endswith(":"):  # announces an answer and is none
                yield _Read(rank, position, passage, sentence, own, around)


def _rarity(sentences: Sequence[frozenset[int]], asked: frozenset[int]) -> dict[int, float]:
    """Each asked term's weight: the rarer among the sentences, the more (the idf of BM25). Few sentences say little of
    rarity, so `BACKGROUND` others without the terms are supposed; a term in no sentence counts as one in a single."""
    counts = Counter(term for held in sentences for term in held)
    n = len(sentences) + BACKGROUND
    return {term: math.log((n - df + 0.5) / (df + 0.5) + 1) for term in asked for df in [max(counts[term], 1)]}


def shortlist(found: Sequence[Candidate], most: int) -> list[Candidate]:
    """The candidates worth a closer look: by words, better passages first where words tie."""
    return sorted(found, key=lambda c: (-c.coverage + 0.03 * c.rank, c.rank, c.position))[:most]


def answer(found: Sequence[Candidate], similarity: Sequence[float] | None) -> list[Candidate]:
    """The sentences to quote, best first, or none if no sentence is good enough to answer.

    `similarity` is each candidate's cosine with the question; None judges by words alone.
    """
    scored = _scored(found, similarity)
    threshold = THRESHOLD_BY_WORDS if similarity is None else THRESHOLD
    if not scored or scored[0][0] < threshold:
        return []
    best = scored[0][0]
    chosen: list[Candidate] = []
    for score, candidate in scored:
        near = score >= best - NEAR_BEST and score >= threshold
        if near and len(chosen) < MOST_QUOTED and all(_differs(candidate, other) for other in chosen):
            chosen.append(candidate)
    return chosen


def _scored(found: Sequence[Candidate], similarity: Sequence[float] | None) -> list[tuple[float, Candidate]]:
    near = similarity if similarity is not None else [0.0] * len(found)
    scored = [
        (
            c.coverage + SIMILARITY_WEIGHT * cosine + SUITS * c.suits - RANK_COST * min(c.rank, 10),
            c,
        )
        for c, cosine in zip(found, near, strict=True)
    ]
    return sorted(scored, key=lambda item: (-item[0], item[1].rank, item[1].position))


def _differs(one: Candidate, other: Candidate) -> bool:
    """False if one sentence says little more than the other: near-copies of a page are common. Two that differ in a
    number contradict each other, and whoever asks must see both."""
    if _numbers(one.text) != _numbers(other.text):
        return True
    a, b = set(one.text.lower().split()), set(other.text.lower().split())
    return len(a & b) < 0.7 * min(len(a), len(b))


def _numbers(text: str) -> frozenset[str]:
    return frozenset(found.lower() for found in _NUMBER.findall(text))
