"""Sentences out of Markdown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core.sentences import LONGEST, Sentence, plain, split


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        (
            "We pay e.g. Dr. Who, i.e. 3.5 days (approx. half). Then go.",
            ["We pay e.g. Dr. Who, i.e. 3.5 days (approx. half).", "Then go."],
        ),
        ("The U.S. law of J. Smith applies.", ["The U.S. law of J. Smith applies."]),
        ('He said "Go." Then left.', ['He said "Go."', "Then left."]),
        ("one\nline and\nanother. New.", ["one line and another.", "New."]),
        ("\u7b2c\u4e00\u3002\u7b2c\u4e8c\uff1f", ["\u7b2c\u4e00\u3002", "\u7b2c\u4e8c\uff1f"]),
        ("---\ntitle: x\n---\nText.", ["Text."]),
        ("---\n\n***\n\n!!!\n", []),
        (
            'A [link](https://x.example/(a)) and ![pic](y.png "t") and **bold** _it_ `co*de`.',
            ["A link and pic and bold it `co*de`."],
        ),
        ("snake_case_name and 2 * 3 * 4 stay", ["snake_case_name and 2 * 3 * 4 stay"]),
        ("<p>Hi &amp; bye</p> <!-- no -->", ["Hi & bye"]),
        ("> quoted\n> text.", ["quoted text."]),
    ],
)
def test_prose_becomes_plain_sentences(markdown: str, expected: list[str]) -> None:
    """Abbreviations, quotes and markup do not disturb."""
    assert [sentence.text for sentence in split(markdown)] == expected


def test_headings_are_the_context_of_what_follows() -> None:
    """A heading is no sentence of its own."""
    assert split("Before.\n\n## Leave ##\n\nText. More.\n# Other\nEnd.") == [
        Sentence("Before."),
        Sentence("Text.", "Leave"),
        Sentence("More.", "Leave"),
        Sentence("End.", "Other"),
    ]


def test_a_list_item_is_a_unit_under_the_line_that_opens_the_list() -> None:
    """Continued lines belong to it, nested items too."""
    text = "# Pay\n\nWe cover:\n\n- rent,\n  and heat\n  * water\n1. [x] food\n\nDone."
    assert split(text) == [
        Sentence("We cover:", "Pay"),
        Sentence("rent, and heat", "Pay > We cover:"),
        Sentence("water", "Pay > We cover:"),
        Sentence("food", "Pay > We cover:"),
        Sentence("Done.", "Pay"),
    ]


def test_a_table_row_carries_its_head() -> None:
    """A cell means nothing without the name of its column."""
    assert split("| Name | Days |\n|---|:-:|\n| A \\| B | **5** |\n| C | |") == [
        Sentence("Name: A | B; Days: 5"),
        Sentence("Name: C"),
    ]


def test_a_code_block_is_one_unit_and_its_comments_are_no_headings() -> None:
    """Also when its fence never closes."""
    assert split("Run:\n```sh\n# not a heading\nmake run\n```\nThen wait.") == [
        Sentence("Run:"),
        Sentence("# not a heading make run"),
        Sentence("Then wait."),
    ]


def test_an_endless_sentence_is_cut_at_a_word() -> None:
    """A quotation has a bound."""
    (sentence,) = split("word " * 1_000)
    assert len(sentence.text) <= LONGEST + 2
    assert sentence.text.endswith("word \u2026")


@given(st.text(st.sampled_from("ab .!#|-*`~>[]()<:\n\t_\\1\u3002"), max_size=120))
def test_any_markdown_is_read(markdown: str) -> None:
    """No input fails, and every sentence is one line with something in it."""
    for sentence in split(markdown):
        assert sentence.text.strip()
        assert "\n" not in sentence.text


@given(st.text(max_size=60))
def test_plain_text_is_one_line(text: str) -> None:
    """Whatever the blanks were."""
    assert plain(text) == " ".join(plain(text).split())


def test_hostile_repetition_is_read_in_little_time() -> None:
    """Markup that never closes does not make the reader slow."""
    for shard in ("[", "](", "**a", "_a ", "<a ", "<!--", "|", "a.", "[a](b(", "`", "> ", "- "):
        split(shard * (10_000 // len(shard)))
