"""A passage's Markdown as sentences that can be quoted, each in plain words."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST = 600
"""Characters of one sentence; a longer one is cut at a word and ends with an ellipsis."""

_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_ITEM = re.compile(r"[ \t>]*(?:[-*+\u2022]|[0-9]{1,3}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?(.*)")
_RULE = re.compile(r"[ \t]*(?:[-*_=][ \t]*){3,}|[ \t|:-]*\|[ \t|:-]*")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_MARKUP = (
    (re.compile(r"<!--.*?-->", re.DOTALL), " "),
    (re.compile(r"!\[([^\[\]]*)\]\([^()]*(?:\([^()]*\)[^()]*)*\)"), r"\1"),
    (re.compile(r"\[([^\[\]]*)\]\([^()]*(?:\([^()]*\)[^()]*)*\)"), r"\1"),
    (re.compile(r"\[([^\[\]]+)\]\[[^\[\]]*\]"), r"\1"),
    (re.compile(r"^[ >]*\[[^\[\]]+\]:[ \t]*\S+.*$", re.MULTILINE), ""),
    (re.compile(r"</?[A-Za-z][^<>]*>"), " "),
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*])([*_])(?=\S)([^*_\n]+?)(?<=\S)\1(?![\w*])"), r"\2"),
    (re.compile(r"^[ \t]*>[ \t]?", re.MULTILINE), ""),
    (re.compile(r"\\([!-/:-@\[-`{-~])"), r"\1"),
)
# The end of a sentence: a full stop and the like, closing quotes, then a space and something that can begin one.
_END = re.compile(
    r"(?<=[.!?\u2026])[\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c\u2018(\[]?[^\W_a-z])|(?<=[\u3002\uff01\uff1f])"
)
_NO_END = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|No|Nos|Fig|Inc|Ltd|Co|Corp|[A-Z](?:\.[A-Z])*)\.)\Z"
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text` is plain (no links, no emphasis) on one line; `context` is what it stands under inside the passage: a
    heading, the line that opens its list, the head of its table."""

    text: str
    context: str = ""


def split(markdown: str) -> list[Sentence]:
    """The sentences of a passage in reading order. Headings are context and no sentences of their own; a list item,
    a table's row (`head: cell; head: cell`) and a block of code are one unit each, an item split if it is long."""
    text = _FRONT_MATTER.sub("", markdown.replace("\r\n", "\n"))
    return [sentence for block in _blocks(text.split("\n")) for sentence in block.sentences()]


@dataclass(slots=True)
class _Block:
    kind: str
    lines: list[str]
    context: str

    def sentences(self) -> Iterator[Sentence]:
        if self.kind == "table":
            yield from _rows(self.lines, self.context)
        elif self.kind == "code":
            yield from _whole(" ".join(" ".join(self.lines).split()), self.context)
        else:
            for part in _sentences(plain("\n".join(self.lines))):
                yield from _whole(part, self.context)


def _whole(text: str, context: str) -> Iterator[Sentence]:
    if any(character.isalnum() for character in text):
        yield Sentence(text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " \u2026", context)


def _blocks(lines: list[str]) -> Iterator[_Block]:
    """Runs of lines of one kind. A line of text goes on with the list item right above it."""
    heading = opening = ""
    block: _Block | None = None
    for kind, content in _kinds(lines):
        if block is not None and kind == ("text" if block.kind == "item" else block.kind):
            block.lines.append(content)
            continue
        if block is not None:
            yield block
            opening = _opening(block, opening)
        block = None
        if kind == "heading":
            heading, opening = plain(content), ""
        elif kind != "blank":
            context = (heading, opening) if kind == "item" else (heading,)
            block = _Block(kind, [content], " > ".join(part for part in context if part))
    if block is not None:
        yield block


def _opening(block: _Block, before: str) -> str:
    """The words that open the list below `block`: a paragraph that ends with a colon."""
    if block.kind == "item":
        return before
    last = plain(" ".join(block.lines))
    return last.rsplit(". ", 1)[-1] if block.kind == "text" and last.endswith(":") else ""


def _kinds(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Each line as (kind, content); the marks of a code fence count as blank lines."""
    fence = ""
    for line in lines:
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
            yield "blank", ""
        else:
            yield ("code", line) if fence else _kind(line)


def _kind(line: str) -> tuple[str, str]:
    if not line.strip() or (_RULE.fullmatch(line) and "|" not in line):
        return "blank", ""
    if heading := _HEADING.fullmatch(line):
        return "heading", heading[1]
    if line.lstrip().startswith("|"):
        return "table", line
    if item := _ITEM.fullmatch(line):
        return "item", item[1]
    return "text", line


def _rows(lines: list[str], context: str) -> Iterator[Sentence]:
    """Table rows; the first is the head if a rule follows it."""
    headed = len(lines) > 1 and _RULE.fullmatch(lines[1]) is not None
    head = _cells(lines[0]) if headed else []
    for line in lines[2 if headed else 0 :]:
        if _RULE.fullmatch(line):
            continue
        pairs = [(head[i] if i < len(head) else "", cell) for i, cell in enumerate(_cells(line)) if cell]
        yield from _whole("; ".join(f"{name}: {cell}" if name else cell for name, cell in pairs), context)


def _cells(line: str) -> list[str]:
    return [plain(cell) for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def plain(markdown: str) -> str:
    """Markdown's words on one line: links and images by their text, no tags, no emphasis."""
    for pattern, replacement in _MARKUP:
        markdown = pattern.sub(replacement, markdown)
    return " ".join(html.unescape(markdown).split())


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(text):
        if _NO_END.search(text, max(start, end.start() - 12), end.start()):
            continue
        yield text[start : end.end()].strip()
        start = end.end()
    if text[start:].strip():
        yield text[start:].strip()
