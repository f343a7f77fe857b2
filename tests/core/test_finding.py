"""Words found again in one's own texts, and the snippets that show them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core.finding import AROUND, holds, most_of, snippet, words_of
from usher.errors import UserError

texts = st.text(alphabet="aAbBßİéÉe\u0301 ẞǰ\n,.", max_size=400)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("HOLIDAY", "28 days of holiday"),
        ("holi", "28 days of holidays"),
        ("strasse", "die Straße"),
        ("STRASSE", "die straße"),
        ("cafe\u0301", "Caf\xe9"),
        ("CAF\xc9", "cafe\u0301"),
        ("days holiday", "holiday\n\n28 days"),
        ("140", "at most 140 euros"),
        ("ΟΔΟΣ", "οδός, οδος"),
    ],
)
def test_words_are_compared_as_they_read(query: str, text: str) -> None:
    """Whatever their case, composition and order; a word is also found within a longer one."""
    assert holds(words_of(query), [text])


def test_every_word_must_be_there() -> None:
    """In the question or in the answer."""
    assert holds(words_of("hotel euros"), ["Which hotel?", "140 euros"])
    assert not holds(words_of("hotel dollars"), ["Which hotel?", "140 euros"])
    assert not holds(words_of("hotel"), ["ho", "tel"])


@pytest.mark.parametrize("query", ["", "   ", "\n\t", "x" * 201, " ".join(f"w{n}" for n in range(21))])
def test_a_search_for_nothing_or_for_too_much_is_refused(query: str) -> None:
    """Naming the field, and without quoting it."""
    with pytest.raises(UserError, match=r"^q "):
        words_of(query)


@given(st.text(alphabet="aAbBßé \u0301", min_size=1, max_size=8), texts)
def test_a_snippet_shows_the_words_where_it_says(query: str, text: str) -> None:
    """Each match reads as one of the words does, in a piece of bounded length; what is held is shown."""
    try:
        words = words_of(query)
    except UserError:
        return
    found = snippet(words, text)
    assert len(found.text) <= AROUND
    assert [match for match in found.matches if match[0] >= match[1]] == []
    assert list(found.matches) == sorted(found.matches)
    for first, last in found.matches:
        assert any(word in words_as_read(found.text[first:last]) for word in words)
    assert bool(found.matches) == any(holds([word], [text]) for word in words)


def words_as_read(text: str) -> str:
    return " ".join(words_of(text)) if len(text) <= 200 else text.casefold()


def test_a_snippet_begins_before_its_first_match_at_a_word() -> None:
    """Far into a long text, with every place of every word that is inside."""
    text = "lorem ipsum " * 300 + "the HOTEL costs 140 euros, a hotel!" + " dolor sit" * 300
    found = snippet(words_of("hotel 140"), text)
    assert found.text.startswith(("lorem ", "ipsum "))
    assert [found.text[a:b] for a, b in found.matches] == ["HOTEL", "140", "hotel"]


def test_the_snippet_is_of_the_text_that_has_most_of_the_words() -> None:
    """The question, if both have as many."""
    words = words_of("hotel euros")
    assert most_of(words, ["hotel", "hotel euros"]) == 1
    assert most_of(words, ["hotel", "euros"]) == 0
