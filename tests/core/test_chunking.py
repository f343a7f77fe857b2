"""Chunks cover the text, stay within the embedder's limit and stand under their headings."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usher.core import chunking
from usher.core.chunking import Chunk, clean, embed_text, split


def worst_case(text: str) -> int:
    """The most tokens that a WordPiece tokenizer can make of a text: one for each decomposed visible character."""
    return sum(not c.isspace() for c in unicodedata.normalize("NFD", text))


def words(text: str) -> int:
    return len(text.split())


def passages(text: str, title: str = "") -> list[str]:
    return [text[c.start : c.end] for c in split(text, words, title)]


SYNTAX = [
    "# Top\n",
    "## Leave ##\n",
    "### Zone 3\n",
    "```\n",
    "~~~~\n",
    "---\n",
    "title: x\n",
    "| a | b |\n|---|---|\n",
]
INLINE = ["- item\n", "> quote\n", "[text](https://example.org/a_(b))", "<b>bold</b>", "\r\n", "\n\n", "\t", " " * 300]
LONG = ["word " * 200, "x" * 3000, "契約書の期限は" * 100, "각종" * 200, "ﷺ" * 90, "\u1f82" * 200, "|" * 300, "[" * 200]
ODD = ["\U0001f469\u200d\U0001f467" * 50, "e\u0301" * 400, "\x00\x0b\x1c\u2028\u200b\ufeff", "\\"]
MARKDOWN = st.lists(st.sampled_from([*SYNTAX, *INLINE, *LONG, *ODD]) | st.text(max_size=40), max_size=12).map("".join)
HOSTILE = ["[", "> ", "- ", "<!--", "`", "# ", "|", " ", "*a ", "(", "![a](", "x", "a\n", "字", "\\", "&"]


@settings(deadline=None)
@given(text=MARKDOWN, title=st.text(max_size=30))
def test_covers_without_overlap_within_the_limit(text: str, title: str) -> None:
    """Every visible character stands in exactly one chunk, and no chunk is too long for the embedder."""
    chunks = split(text, worst_case, title)
    end = 0
    for position, chunk in enumerate(chunks):
        assert chunk.position == position
        assert not text[end : chunk.start].strip()
        assert end <= chunk.start < chunk.end <= len(text)
        body = text[chunk.start : chunk.end]
        assert body == body.strip()
        assert worst_case(embed_text(title, chunk.headings, body)) <= chunking.TOKENS
        end = chunk.end
    assert not text[end:].strip()
    assert split(text, worst_case, title) == chunks


@pytest.mark.parametrize("text", ["", " \n\t", "\u2003\n", "\x1c"])
def test_blank_text_has_no_chunks(text: str) -> None:
    """Text without a visible character has no chunks."""
    assert split(text, words) == []


def test_headings_are_the_path_above_the_passage() -> None:
    """A chunk stands under the headings that enclose it, outermost first."""
    filler = "word " * 140
    text = f"# Pay\n\n{filler}\n\n## Zones\n\n{filler}\n\n### Zone 3\n\n{filler}\n\n## Bonus\n\n{filler}"
    assert [c.headings for c in split(text, words)] == [
        ("Pay",),
        ("Pay", "Zones"),
        ("Pay", "Zones", "Zone 3"),
        ("Pay", "Bonus"),
    ]


def test_small_neighbours_are_glued_under_what_they_share() -> None:
    """Short sections share a chunk, which stands under the path that they have in common."""
    text = "# FAQ\n\n## One\n\nfirst answer\n\n## Two\n\nsecond answer\n"
    assert split(text, words) == [Chunk(0, 0, len(text) - 1, ("FAQ",))]
    (chunk,) = split("## One\n\nfirst\n\n## Two\n\nsecond", words)
    assert chunk.headings == ()


def test_a_hash_in_a_code_fence_is_no_heading() -> None:
    """Comments in code do not change the heading path."""
    filler = "word " * 140
    text = f"# Setup\n\n{filler}\n\n```sh\n# install\n~~~\nmake\n```\n\n{filler}\n\n## Next\n\n{filler}"
    assert [c.headings for c in split(text, words)][-2:] == [("Setup",), ("Setup", "Next")]


def test_front_matter_is_shown_but_not_embedded() -> None:
    """Front matter belongs to the first passage, and the embedder does not see it."""
    text = "---\ntitle: Travel\nowner: ops\n---\n# Trips\n\nBook early."
    assert passages(text) == [text]
    assert embed_text("Travel", ("Trips",), text) == "Travel > Trips\nTrips\nBook early."


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("**Bold** and _soft_ `code` snake_case", "Bold and soft code snake_case"),
        ("see [the page](https://a.b/c_(d)) at https://a.b/c?x=1 now", "see the page at now"),
        ("![chart](data:image/png;base64,AAAA) <img src=x> a < b", "chart a < b"),
        ("- one\n* two\n> three\n## four", "one\ntwo\nthree\nfour"),
        ("| a | b |\n|:--|--:|\n| 1 | 2 |", "a b\n1 2"),
        ("[ref]: https://a.b\ntext <!-- note\nnote --> more", "text more"),
    ],
)
def test_clean_leaves_the_words(markdown: str, plain: str) -> None:
    """Markup and addresses go, words stay."""
    assert clean(markdown) == plain


def test_a_name_stands_once_in_the_prefix() -> None:
    """A first heading that repeats the title is not said twice."""
    assert embed_text("Leave", ("Leave", "Parents"), "16 weeks") == "Leave > Parents\n16 weeks"


def test_a_long_path_leaves_room_for_the_body() -> None:
    """However long title and headings are, the prefix has at most 200 decomposed characters."""
    assert len(unicodedata.normalize("NFD", chunking.prefix("각" * 300, ["x" * 300]))) <= 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", ["[", "> ", "- ", "<!--", "`", "# ", "|", " ", "*a ", "(", "![a](", "x", "a\n", "字", "\\", "&"]
)
def test_hostile_repetition_ends_soon(unit: str) -> None:
    """Half a megabyte of one repeated token takes a few seconds at most."""
    started = time.monotonic()
    split(unit * (500_000 // len(unit)), words)
    assert time.monotonic() - started < 20
