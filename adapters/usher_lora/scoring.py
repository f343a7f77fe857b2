"""Whether a question was answered well, by what is known to be the answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from msgspec import DecodeError, Struct
from msgspec.json import decode

from usher_lora.faults import AdapterFault

WELL: Final = 0.5
"""The overlap of words from which on an answer is a good one."""
_ARTICLES: Final = frozenset(("a", "an", "the"))
_WORD: Final = re.compile(r"\w+")


T = TypeVar("T")


class General(Struct, frozen=True):
    """A question that has nothing to do with any document, its answer, and answers that are wrong."""

    question: str
    answer: str
    wrong: tuple[str, ...]


class Retrieved(Struct, frozen=True):
    """What the base with retrieval answered."""

    question: str
    answer: str


def f1(answer: str, reference: str) -> float:
    """The overlap of words with the known answer, as SQuAD has it: the harmonic mean of precision and recall."""
    said, known = Counter(_words(answer)), Counter(_words(reference))
    if not said or not known:
        return float(said == known)
    both = (said & known).total()
    return 2 * both / (said.total() + known.total())


def share_well(answers: Iterable[str], references: Iterable[str]) -> float:
    """The share of the answers that are good ones; 0 where there is none."""
    judged = [f1(answer, known) >= WELL for answer, known in zip(answers, references, strict=True)]
    return sum(judged) / len(judged) if judged else 0.0


def share_first(losses: Iterable[Sequence[float]]) -> float:
    """The share of questions whose right answer, the first, surprised less than each wrong one."""
    judged = [one[0] < min(one[1:]) for one in losses]
    return sum(judged) / len(judged) if judged else 0.0


def read_general(data: bytes) -> tuple[General, ...]:
    """General questions, JSON lines. Raises `AdapterFault`."""
    found = _lines(data, General, "general questions")
    if any(not one.wrong for one in found):
        raise AdapterFault("general questions", "have one without a wrong answer", "give each at least one")
    return found


def read_retrieved(data: bytes, questions: Sequence[str]) -> list[str]:
    """Retrieval's answers to these questions, in their order. Raises `AdapterFault` where one is missing."""
    told = {one.question: one.answer for one in _lines(data, Retrieved, "retrieval's answers")}
    missing = sum(question not in told for question in questions)
    if missing:
        problem = f"leave out {missing} of the {len(questions)} held-out questions"
        raise AdapterFault("retrieval's answers", problem, "ask each of them")
    return [told[question] for question in questions]


def _lines(data: bytes, kind: type[T], field: str) -> tuple[T, ...]:
    found = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            found.append(decode(line, type=kind))
        except (DecodeError, UnicodeDecodeError, RecursionError):
            raise AdapterFault(field, f"are not of their form in line {number}", "write JSON lines") from None
    if not found:
        raise AdapterFault(field, "are none", "give at least one, as JSON lines")
    return tuple(found)


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if word not in _ARTICLES]
