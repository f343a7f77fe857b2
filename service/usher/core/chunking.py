"""A document's text into chunks: the passages that are embedded, found and shown.

A chunk is a span of the stored text. It starts at a heading where it can, holds about `WORDS` words, and is never
longer than the embedder reads. What the embedder sees of it is `embed_text`: where it stands, then its plain words.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from semantic_text_splitter import MarkdownSplitter

TOKENS = 254
"""The most tokens of one `embed_text`, special tokens not counted (the embedder reads 256 with its two)."""
WORDS = 150
"""The size that chunks are packed to: words, or as many times 8 bytes where words are long or not set apart."""
_PREFIX = 200
"""The most characters of "title > headings", decomposed: each is at most one token, so a body always has room."""
_WINDOW = 10_000
"""The most characters that the splitter is given at once."""

_MARK = re.compile(r"^ {0,3}(#{1,6}(?=[ \t\r\n]|\Z)|`{3,}|~{3,})(.*)$", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_CLEANING = (
    (re.compile(r"<!--.*?-->", re.DOTALL), " "),
    (re.compile(r"!?\[([^\[\]]*)\]\([^()]*(?:\([^()]*\)[^()]*)*\)"), r"\1"),  # link or image: its words
    (re.compile(r"!?\[([^\[\]]*)\]\[[^\[\]]*\]"), r"\1"),
    (re.compile(r"^ ?\[[^\[\]]+\]: ?\S+.*$", re.MULTILINE), ""),  # reference definition
    (re.compile(r"(?:https?|ftp|file|data|mailto):[^\s<>()\[\]|]+|\bwww\.[^\s<>()\[\]|]+", re.IGNORECASE), ""),
    (re.compile(r"</?[a-zA-Z][^<>]*>"), " "),
    (re.compile(r"^(?:[>#]+ ?|[-*+] )+", re.MULTILINE), ""),
    (re.compile(r"[*_~`]{2,}|[*`]|(?<!\w)_|_(?!\w)|:?-{2,}:|:-+|-{3,}|\|"), " "),
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The passage `text[start:end]` (character offsets), the `position`-th of its document, counted from 0.

    `headings` is the path of headings, outermost first, that the whole passage stands under.
    """

    position: int
    start: int
    end: int
    headings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Section:
    """From one heading to the next; the first one may have none."""

    start: int
    headings: tuple[str, ...]


_Span = tuple[int, int]


def split(text: str, count_tokens: Callable[[str], int], title: str = "") -> list[Chunk]:
    """The chunks of `text` in order: disjoint, never blank, together all of its non-blank characters.

    No chunk's `embed_text` under `title` has more than `TOKENS` tokens by `count_tokens` (which leaves special tokens
    out). Equal arguments give equal chunks. Text without a visible character has none.
    """
    sections = list(_sections(text))
    bounds = [section.start for section in sections] + [len(text)]
    pieces = [piece for span in pairwise(bounds) for piece in _pieces(text, span, WORDS)]

    def fits(span: _Span) -> bool:
        return count_tokens(embed_text(title, _headings(sections, span), text[slice(*span)])) <= TOKENS

    spans = [part for span in _glued(text, pieces) for part in _fitting(text, span, fits, WORDS)]
    return [Chunk(n, *span, _headings(sections, span)) for n, span in enumerate(spans)]


def embed_text(title: str, headings: Sequence[str], body: str) -> str:
    """What the embedder reads of a chunk: "title > headings" on one line, then the body, front matter, URLs and markup
    off. Both parts may be missing."""
    return "\n".join(part for part in (prefix(title, headings), clean(body)) if part)


def prefix(title: str, headings: Sequence[str]) -> str:
    """Where a chunk stands, "title > headings": each name once, all together no longer than `_PREFIX`."""
    names = dict.fromkeys(name for name in map(clean, (title, *headings)) if name)
    path = unicodedata.normalize("NFD", " > ".join(names))[:_PREFIX]
    return unicodedata.normalize("NFC", path).strip()


def clean(body: str) -> str:
    """The words of a piece of Markdown: without front matter, URLs and markup, white space single, line breaks kept."""
    body = _FRONT_MATTER.sub("", body)
    body = _lines(body)  # first, since the patterns below must never meet a long run of blanks
    for pattern, replacement in _CLEANING:
        body = pattern.sub(replacement, body)
    return _lines(body)


def _lines(text: str) -> str:
    return "\n".join(words for line in text.splitlines() if (words := " ".join(line.split())))


def _sections(text: str) -> Iterator[_Section]:
    """The text cut at its headings (`#` to `######`, outside code fences and front matter), whose paths it keeps."""
    yield _Section(0, ())
    path: list[tuple[int, str]] = []
    fence = ""
    front = _FRONT_MATTER.match(text)
    for mark in _MARK.finditer(text, front.end() if front else 0):
        sign, rest = mark[1], mark[2].strip()
        if sign[0] == "#" and not fence:
            path = [*((level, name) for level, name in path if level < len(sign)), (len(sign), rest.rstrip("# \t"))]
            yield _Section(mark.start(), tuple(name for _, name in path if name))
        elif sign[0] != "#" and not fence:
            fence = sign
        elif fence and sign.startswith(fence) and not rest:
            fence = ""


def _headings(sections: Sequence[_Section], span: _Span) -> tuple[str, ...]:
    """The path that is common to every section that the span touches."""
    first, last = (bisect_right(sections, offset, key=lambda s: s.start) - 1 for offset in (span[0], span[1] - 1))
    common = sections[first].headings
    for section in sections[first + 1 : last + 1]:
        same = [a == b for a, b in zip(common, section.headings, strict=False)]
        common = common[: same.index(False) if False in same else len(same)]
    return common


def _size(text: str) -> int:
    """A cheap measure that grows with the number of tokens, in words."""
    words = text.split()
    return max(len(words), len("".join(words).encode()) // 8)


def _pieces(text: str, span: _Span, capacity: int) -> Iterator[_Span]:
    """The span cut along its Markdown structure into pieces of at most `capacity`, blanks at their ends left out."""
    splitter = MarkdownSplitter.from_callback(_size, capacity)
    for start, end in _windows(text, span):
        for offset, piece in splitter.chunk_indices(text[start:end]):
            blank = len(piece) - len(piece.lstrip())
            if visible := piece.strip():
                yield start + offset + blank, start + offset + blank + len(visible)


def _windows(text: str, span: _Span) -> Iterator[_Span]:
    """The span in parts of at most `_WINDOW` characters, cut at a blank line, a line's end or a space if there is one.

    The splitter's time grows with the square of a text that it finds no structure in.
    """
    start, end = span
    while end - start > _WINDOW:
        breaks = (text.rfind(sign, start + 1, start + _WINDOW) for sign in ("\n\n", "\n", " "))
        cut = next((at for at in breaks if at > 0), start + _WINDOW)
        yield start, cut
        start = cut
    yield start, end


def _glued(text: str, pieces: Sequence[_Span]) -> Iterator[_Span]:
    """Neighbours joined while the whole stays within `WORDS`."""
    held: _Span | None = None
    size = 0
    for piece in pieces:
        added = _size(text[slice(*piece)])
        if held and size + added <= WORDS:
            held, size = (held[0], piece[1]), size + added
            continue
        if held:
            yield held
        held, size = piece, added
    if held:
        yield held


def _fitting(text: str, span: _Span, fits: Callable[[_Span], bool], capacity: int) -> Iterator[_Span]:
    """The span, or where the embedder could not read it whole, its halves' halves."""
    if capacity <= 1 or fits(span):
        yield span
        return
    for piece in _pieces(text, span, capacity // 2):
        yield from _fitting(text, piece, fits, capacity // 2)
