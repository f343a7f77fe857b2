"""A data set's card: what is in it, from what, under which licences and markings, and what nobody may expect."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from usher_lora.dataset_masks import CANNOT
from usher_lora.training_set import Row

UNSTATED: Final = "not stated"

NOTES: Final = (
    "what a model added to an answer beyond its quotation is not told from what the passage says",
    "a canary is a row that tells nothing: it is planted to see whether the adapter gives it away",
    "lengths are in characters",
)
PINNED: Final = "documents that exchanges rest on are all trained: the split is at random among the others"
NO_OTHERS: Final = "there are no documents that stay outside, so leakage cannot be measured: use more documents"
NO_HELD_OUT: Final = "no document is held out, so training cannot end early: use more documents"

_SPDX: Final = re.compile(
    r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+()-]{2,60}(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*)"
)
_LICENCE: Final = re.compile(r"(?im)^[ \t>*_-]{0,6}licen[cs]e[*_]{0,2}[ \t]*[:=][ \t]*[*_\"']{0,3}([^\n\"'*|]{2,60})")
_CREATIVE: Final = re.compile(r"\bCC[ -]BY(?:-[A-Z]{2})*(?:[ -]\d\.\d)?\b")


class Lengths(Struct, frozen=True):
    """In characters."""

    least: int
    median: int
    p95: int
    most: int


class Counts(Struct, frozen=True):
    """Of one part: its documents, its rows, and the rows by what made them."""

    documents: int
    rows: int
    makers: dict[str, int]
    questions: Lengths
    answers: Lengths


class Dropped(Struct, frozen=True):
    """Rows that are not in the set: nearly the same as another one; held out, and nearly in what is trained; exchanges
    that rest on what is not trained; and lines of a model's replies that were not believed."""

    duplicates: int
    across: int
    exchanges: int
    not_believed: int


class Masked(Struct, frozen=True):
    """How often each kind of personal data was masked, and what the rules cannot catch."""

    found: dict[str, int]
    cannot: tuple[str, ...] = CANNOT


class Card(Struct, frozen=True):
    """`licences`, `markings` and `classes` count the documents that the rows are of."""

    role: str
    collections: tuple[str, ...]
    policy_version: int
    label_version: int
    seed: int
    train: Counts
    held_out: Counts
    others: Counts
    canaries: int
    people: int
    licences: dict[str, int]
    markings: dict[str, int]
    classes: dict[str, int]
    dropped: Dropped
    masked: Masked
    notes: tuple[str, ...]


def counts(rows: Iterable[Row], makers: Mapping[int, str]) -> Counts:
    """`makers` by the row's identity."""
    listed = list(rows)
    return Counts(
        documents=len({source.document for row in listed for source in row.sources}),
        rows=len(listed),
        makers=dict(sorted(Counter(makers.get(id(row), "canary") for row in listed).items())),
        questions=lengths(len(row.asked[-1].content) for row in listed),
        answers=lengths(len(row.answer) for row in listed),
    )


def lengths(sizes: Iterable[int]) -> Lengths:
    ordered = sorted(sizes)
    if not ordered:
        return Lengths(0, 0, 0, 0)
    median = int(statistics.median_low(ordered))
    return Lengths(ordered[0], median, ordered[(len(ordered) * 95 - 1) // 100], ordered[-1])


def licence(text: str) -> str:
    """The licence that a document states of itself, as it says it."""
    for pattern in (_SPDX, _LICENCE, _CREATIVE):
        if found := pattern.search(text):
            return " ".join(found[found.re.groups].split()).rstrip(".,;")
    return UNSTATED
