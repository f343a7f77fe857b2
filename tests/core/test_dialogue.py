"""What of a conversation a prompt may hold, and in which words."""

from __future__ import annotations

import re
import time
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core.dialogue import (
    HIDDEN,
    MAX_TITLE,
    Earlier,
    Past,
    newest_that_fit,
    normalized,
    runs_collapsed,
    title_of,
    turns,
    without_citations,
)

PASTS = st.builds(Past, st.uuids(), st.text(max_size=9), st.text(max_size=9), st.just(b""))
EARLIER = st.lists(st.none() | PASTS, max_size=9)


def cost(past: Earlier) -> int:
    return 1 if past is None else len(past.question) + len(past.answer)


@given(
    st.text(),
    st.lists(st.sampled_from([" ", "\n", "\t", "\u00a0", "[1]", "[2, 3]", "[1-4]"]), max_size=5),
    st.integers(),
)
def test_an_answer_is_recognised_whatever_a_client_does_to_spaces_and_citations(
    text: str, noise: list[str], place: int
) -> None:
    """Spaces and citations put anywhere between two words, and another normal form, change nothing."""
    words = text.split(" ")
    at = place % (len(words) + 1)
    changed = " ".join([*words[:at], *noise, *words[at:]])
    assert normalized(unicodedata.normalize("NFD", changed)) == normalized(text)


@pytest.mark.parametrize("other", ["Nine million.", "four million", "Four million!", "Four billion."])
def test_another_text_is_not_recognised(other: str) -> None:
    """Words, case and signs count."""
    assert normalized(other) != normalized("Four million.")


@given(EARLIER)
def test_hidden_exchanges_that_follow_each_other_are_one_placeholder(earlier: list[Earlier]) -> None:
    """How many there were is not told, and nothing visible is lost or moved."""
    kept = runs_collapsed(earlier)
    assert [past for past in kept if past] == [past for past in earlier if past]
    assert all(a is not None or b is not None for a, b in pairwise(kept))
    assert (None in kept) == (None in earlier)


@given(EARLIER, st.integers(0, 40))
def test_the_newest_whole_exchanges_fit_the_budget(earlier: list[Earlier], tokens: int) -> None:
    """Oldest out first, none left out in between, and no room for one more."""
    kept, collapsed = newest_that_fit(earlier, tokens, cost), runs_collapsed(earlier)
    assert kept == collapsed[len(collapsed) - len(kept) :]
    assert sum(map(cost, kept)) <= tokens
    if len(kept) < len(collapsed):
        assert sum(map(cost, collapsed[len(collapsed) - len(kept) - 1 :])) > tokens


def test_a_placeholder_is_the_same_for_everything_that_is_hidden() -> None:
    """In a prompt it stands for the question too."""
    assert turns(None) == ({"role": "user", "content": HIDDEN}, {"role": "assistant", "content": HIDDEN})


def test_an_answer_in_a_later_prompt_has_no_citations() -> None:
    """Their numbers are of other passages."""
    assert without_citations("Four million [1]. And five [2, 3]!\n[4]") == "Four million. And five!"
    assert without_citations("Since [sic] then [x]") == "Since [sic] then [x]"


@given(st.text(" \t[1]x\n"))
def test_blanks_before_a_citation_go_with_it(answer: str) -> None:
    """As looking from each of them would find."""
    assert without_citations(answer) == re.sub(r"[ \t]*\[[\d\s,;\u2013-]+\]", "", answer).strip()


def test_a_long_run_of_blanks_costs_little() -> None:
    """A model's few tokens may be so many, and each later prompt looks at them again."""
    began = time.perf_counter()
    assert without_citations("x" + " " * 100_000 + "x [1]").endswith(" x")
    assert time.perf_counter() - began < 0.5


@given(st.text())
def test_a_title_is_one_short_line(question: str) -> None:
    """Of the question's own first words."""
    title = title_of(question)
    assert 0 < len(title) <= MAX_TITLE
    assert title.isprintable()
    assert title == " ".join(title.split())


def test_a_title_ends_at_a_word() -> None:
    """With a sign that it was cut."""
    assert title_of("  How much\tmay a\nhotel cost? ") == "How much may a hotel cost?"
    assert title_of("word " * 40) == ("word " * 15).strip() + "…"
    assert title_of("x" * 200) == "x" * 79 + "…"
