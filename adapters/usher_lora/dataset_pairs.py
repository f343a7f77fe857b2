"""Questions and answers from a document's own structure, without any model: headings, definitions, tables, Q&A pages.

A document is Markdown, as the converters make it. Each pair says where in the text its answer stands; its answer is the
document's own words, and its question names the document, so that equal headings of two documents ask two things.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

LONGEST_ANSWER: Final = 2_000
SHORTEST_SECTION: Final = 20
"""Characters."""
MOST_WORDS: Final = 8
"""Of a term that is defined."""

_HEADING: Final = re.compile(r"#{1,6}[ \t]+(.+)")
_FENCE: Final = re.compile(r"[ \t]*(```|~~~)")
_ASKED: Final = re.compile(r"[-* \t]*\**(?:Q|Question|Frage|F)\**\s*[:.]\s*\**(.+)", re.IGNORECASE)
_ANSWERED: Final = re.compile(r"[-* \t]*\**(?:A|Answer|Antwort)\**\s*[:.]\s*\**(.+)", re.IGNORECASE)
_TERM: Final = re.compile(
    r"(?:[-*+][ \t]+)?(?:\*\*|__)(.{2,80}?)(?:(?:\*\*|__):|:(?:\*\*|__)|(?:\*\*|__)\s*[\u2013\u2014-])\s+(.+)"
)
_LISTED: Final = re.compile(r"[-*+][ \t]+([^:|*_`]{2,80}):\s+(.+)")
_MEANT: Final = re.compile(r"(?:An?|The)?\s*[“\"]?([A-Z][\w /-]{1,60}?)[”\"]?\s+(?:means|refers to|is defined as)\s+.+")
# What may stand at an end is cut off afterwards: a pattern that looks for it too takes the square of a line's length.
_RULE: Final = re.compile(r"\|?[ \t]*:?-{2,}:?[ \t]*(\|[ \t]*:?-{2,}:?[ \t]*)*\|?")


class Maker(StrEnum):
    """What made a pair."""

    HEADING = "heading"
    DEFINITION = "definition"
    TABLE = "table"
    QUESTION = "question_page"
    MODEL = "model"
    EXCHANGE = "exchange"


@dataclass(frozen=True, slots=True)
class Pair:
    """One question with its answer. The answer is from the characters `start` to `end` of the document's text."""

    question: str
    answer: str
    start: int
    end: int
    maker: Maker


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    start: int
    code: bool

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under one heading, up to the next; before the first, `heading` is the title."""

    heading: str
    start: int
    end: int


def pairs(title: str, text: str) -> list[Pair]:
    """All that a document's structure answers, in the order of the text; the same question is asked once."""
    found: dict[str, Pair] = {}
    for section in sections(title, text):
        for pair in _of_section(title, section, text):
            found.setdefault(" ".join(pair.question.casefold().split()), pair)
    return list(found.values())


def sections(title: str, text: str) -> list[Section]:
    """The text by its headings; what stands in a code block is no heading."""
    heads = [(title, 0, 0)]
    for line in _lines(text):
        if not line.code and (found := _HEADING.fullmatch(line.text)):
            heads.append((found[1].rstrip(" \t#").strip() or found[1].strip(), line.end, line.start))
    ends = [start for _, _, start in heads[1:]] + [len(text)]
    return [Section(heading, start, end) for (heading, start, _), end in zip(heads, ends, strict=True)]


def _of_section(title: str, section: Section, text: str) -> Iterator[Pair]:
    lines = [line for line in _lines(text[section.start : section.end], section.start) if not line.code]
    yield from _asked(lines)
    yield from _tables(title, section.heading, lines)
    yield from _definitions(title, lines)
    yield from _whole(title, section, text)


def _whole(title: str, section: Section, text: str) -> Iterator[Pair]:
    """What a section says, to the last paragraph that an answer has room for."""
    body = text[section.start : section.end]
    said = _shortened(body.strip())
    if len(said) < SHORTEST_SECTION:
        return
    start = section.start + len(body) - len(body.lstrip())
    if section.heading.endswith("?"):
        yield Pair(section.heading, said, start, start + len(said), Maker.QUESTION)
    elif section.heading == title:
        yield Pair(f"What does “{title}” say?", said, start, start + len(said), Maker.HEADING)
    else:
        asked = f"What does “{title}” say about “{section.heading}”?"
        yield Pair(asked, said, start, start + len(said), Maker.HEADING)


def _shortened(text: str) -> str:
    if len(text) <= LONGEST_ANSWER:
        return text
    cut = text.rfind("\n\n", 0, LONGEST_ANSWER)
    if cut < 0:
        cut = text.rfind(". ", 0, LONGEST_ANSWER) + 1
    return text[: cut if cut > 0 else LONGEST_ANSWER].rstrip()


def _asked(lines: list[_Line]) -> Iterator[Pair]:
    """`Q: …` with `A: …` in the next line that says something."""
    told = [line for line in lines if line.text.strip()]
    for one, other in pairwise(told):
        question, answer = _ASKED.fullmatch(one.text.strip()), _ANSWERED.fullmatch(other.text.strip())
        if question and answer:
            yield _pair(question[1].rstrip("*").strip(), answer[1], other, Maker.QUESTION)


def _definitions(title: str, lines: list[_Line]) -> Iterator[Pair]:
    for line in lines:
        stripped = line.text.strip()
        named = _TERM.fullmatch(stripped) or _LISTED.fullmatch(stripped)
        if named and _is_term(named[1]) and len(named[2].split()) > 1:
            yield _pair(_meaning(title, named[1]), named[2], line, Maker.DEFINITION)
        elif (meant := _MEANT.fullmatch(stripped)) and _is_term(meant[1]):
            yield _pair(_meaning(title, meant[1]), stripped, line, Maker.DEFINITION)


def _is_term(text: str) -> bool:
    return len(text.split()) <= MOST_WORDS and any(letter.isalpha() for letter in text) and "?" not in text


def _meaning(title: str, term: str) -> str:
    return f"What does “{title}” say of the term “{term.strip()}”?"


def _pair(question: str, answer: str, line: _Line, maker: Maker) -> Pair:
    said = answer.strip()[:LONGEST_ANSWER]
    start = line.start + line.text.rindex(answer.strip())
    return Pair(question, said, start, start + len(said), maker)


def _tables(title: str, heading: str, lines: list[_Line]) -> Iterator[Pair]:
    """For each row of a table what each column says of what the row begins with."""
    where = f"“{title}”" if heading == title else f"“{heading}” of “{title}”"
    columns: list[str] | None = None
    for before, line in pairwise(lines):
        if columns is None:
            if "|" in before.text and _RULE.fullmatch(line.text.strip()):
                columns = _cells(before.text)
        elif "|" in line.text:
            yield from _row(where, columns, line)
        else:
            columns = None


def _row(where: str, columns: list[str], line: _Line) -> Iterator[Pair]:
    first, *cells = _cells(line.text) or [""]
    if not first or len(columns) != len(cells) + 1:
        return
    for column, cell in zip(columns[1:], cells, strict=True):
        if column and cell:
            question = f"By the table in {where}, what is “{column}” of “{first}”?"
            yield Pair(question, cell, line.start, line.end, Maker.TABLE)


def _cells(text: str) -> list[str]:
    return [cell.strip() for cell in text.strip().removeprefix("|").removesuffix("|").split("|")]


def _lines(text: str, at: int = 0) -> Iterator[_Line]:
    """The lines with where they begin, and whether they are code."""
    code = False
    for line in text.splitlines(keepends=True):
        fence = _FENCE.match(line) is not None
        yield _Line(line.rstrip("\r\n"), at, code or fence)
        code ^= fence
        at += len(line)
