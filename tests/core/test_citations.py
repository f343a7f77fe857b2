"""Citations in a streamed answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core.citations import Citer


def passed(pieces: list[str], allowed: tuple[int, ...] = (1, 2, 3)) -> tuple[str, tuple[int, ...], int]:
    citer = Citer(allowed)
    text = "".join(citer.feed(piece) for piece in pieces) + citer.finish()
    return text, citer.cited, citer.dropped


@pytest.mark.parametrize(
    ("text", "expected", "cited", "dropped"),
    [
        ("It is so [3].", "It is so [3].", (3,), 0),
        ("[2][1] and [2]", "[2][1] and [2]", (2, 1), 0),
        ("so [1, 2].", "so [1, 2].", (1, 2), 0),
        ("so [ 1 ;2 ].", "so [1, 2].", (1, 2), 0),
        ("so [1-3], [2\u20133].", "so [1, 2, 3], [2, 3].", (1, 2, 3), 0),
        ("days[1].", "days[1].", (1,), 0),
        ("so [9].", "so.", (), 1),
        ("so [9]. And [1, 9, 3].", "so. And [1, 3].", (1, 3), 2),
        ("so [0] [01] [999]", "so [1]", (1,), 2),
        ("zero\u200bwidth [\u200b9\u200b]", "zero\u200bwidth", (), 1),
        ("[sic] [x] [ ] [2024] [1.5] [a1] [3-1] []", "[sic] [x] [ ] [2024] [1.5] [a1] [3-1] []", (), 0),
        ("`a[0] = b[9]` [9]", "`a[0] = b[9]`", (), 1),
        ("``x ` a[9]`` [1]", "``x ` a[9]`` [1]", (1,), 0),
        ("a ` tick\nthen [9] and [1]", "a ` tick\nthen and [1]", (1,), 1),
        ("```py\na[0] = 1\n\nb[9]\n```\nso [9] [1]", "```py\na[0] = 1\n\nb[9]\n```\nso [1]", (1,), 1),
        ("~~~\na[9]\n~~~\n[1]", "~~~\na[9]\n~~~\n[1]", (1,), 0),
        ("- ```\n  a[9]\n  ```\n- [9]", "- ```\n  a[9]\n  ```\n-", (), 1),
        ("[7](https://x.example)", "(https://x.example)", (), 1),
        ("open [1", "open [1", (), 0),
        ("[" + " " * 200 + "9]", "[" + " " * 200 + "9]", (), 0),
    ],
)
def test_citations_of_the_prompt_stay_and_invented_ones_go(
    text: str, expected: str, cited: tuple[int, ...], dropped: int
) -> None:
    """The same whole and character by character."""
    assert passed([text]) == (expected, cited, dropped)
    assert passed(list(text)) == (expected, cited, dropped)


ALPHABET = st.text(st.sampled_from("[]019,;- `~\nab.\u2013\u200b"), max_size=60)


@given(st.lists(ALPHABET, max_size=6))
def test_the_outcome_does_not_depend_on_how_the_text_is_cut(pieces: list[str]) -> None:
    """Deltas are an accident of the wire."""
    assert passed(pieces) == passed(["".join(pieces)]) == passed(list("".join(pieces)))


@given(st.lists(ALPHABET, max_size=6))
def test_nor_does_it_where_nothing_may_be_cited(pieces: list[str]) -> None:
    """As for the answer of an adapter, which no passages were found for."""
    assert passed(pieces, ()) == passed(["".join(pieces)], ()) == passed(list("".join(pieces)), ())


@pytest.mark.parametrize(
    ("text", "expected", "dropped"),
    [("so [9]. And[1] it [1, 2] is", "so . And it  is", 4), ("`a [9]` [1]", "`a [9]` ", 1), ("[1] so", " so", 1)],
)
def test_where_nothing_may_be_cited_only_the_brackets_go(text: str, expected: str, dropped: int) -> None:
    """And no word waits for what comes after its space."""
    assert passed([text], ()) == (expected, (), dropped) == passed(list(text), ())
    assert Citer(()).feed("The ") == "The "


@given(ALPHABET)
def test_a_second_pass_changes_nothing(text: str) -> None:
    """What was passed on holds no invented citation any more."""
    once, _, _ = passed([text])
    if "[" not in once:
        assert passed([once])[0] == once


def test_prose_is_passed_on_at_once() -> None:
    """Only what may begin a citation waits."""
    citer = Citer((1,))
    assert citer.feed("The limit is five days") == "The limit is five days"
    assert citer.feed(" [") == ""
    assert citer.feed("1] of") == " [1] of"
