"""Which sentences answer."""

from collections.abc import Sequence

import pytest

from usher.core.extract import MOST_QUOTED, Candidate, answer, candidates, shortlist
from usher.core.prompt import PromptPassage

LEAVE = PromptPassage(
    1,
    "Parental leave",
    ("Benefits",),
    "We love children. Parents get 16 weeks of paid parental leave per birth. Ask your manager for a form.",
)
TRAVEL = PromptPassage(2, "Travel", (), "A hotel room may cost 300 dollars per night. Trains are preferred to planes.")
QUESTION = "How many weeks of parental leave do parents get?"


def quoted(question: str, passages: Sequence[PromptPassage], similarity: Sequence[float] | None = None) -> list[str]:
    found = candidates(question, passages)
    return [candidate.text for candidate in answer(found, similarity and list(similarity)[: len(found)])]


def test_the_sentence_that_shares_the_rare_words_is_quoted() -> None:
    """With the number of its passage."""
    (best, *_) = answer(candidates(QUESTION, [TRAVEL, LEAVE]), None)
    assert (best.n, best.text) == (1, "Parents get 16 weeks of paid parental leave per birth.")


def test_nothing_is_quoted_where_no_sentence_answers() -> None:
    """Neither without words in common nor without passages."""
    assert quoted("Who repairs the coffee machine?", [LEAVE, TRAVEL]) == []
    assert quoted(QUESTION, []) == []
    assert quoted("?", [LEAVE]) == []


def test_meaning_can_decide_where_words_do_not() -> None:
    """A similar sentence answers though it shares no word; a far one does not."""
    question = "What is the ceiling for lodging?"
    found = candidates(question, [TRAVEL])
    assert [c.text for c in answer(found, [0.85, 0.1])] == [found[0].text]
    assert answer(found, [0.1, 0.1]) == []


def test_a_question_for_a_number_prefers_a_sentence_with_one() -> None:
    """`how many` is answered by digits or a number word."""
    passage = PromptPassage(
        1, "Leave", (), "Parental leave for parents is counted in weeks. Parental leave is 16 weeks."
    )
    assert quoted("How many weeks is parental leave?", [passage])[0] == "Parental leave is 16 weeks."


def test_copies_are_quoted_once_and_the_answer_is_short() -> None:
    """Near-duplicate pages are common."""
    copies = [PromptPassage(n, "Leave", (), LEAVE.text) for n in range(1, 6)]
    assert quoted(QUESTION, copies) == ["Parents get 16 weeks of paid parental leave per birth."]
    many = [
        PromptPassage(n, "", (), f"Parental leave parents get weeks x{n} y{n} z{n} w{n} v{n} u{n}.")
        for n in range(1, 6)
    ]
    assert len(quoted("parental leave parents get weeks", many)) == MOST_QUOTED


@pytest.mark.parametrize(
    ("one", "other"), [("6 months", "12 months"), ("six months", "twelve months"), ("1.5 years", "1,5 weeks")]
)
def test_sentences_that_differ_in_a_number_are_both_quoted(one: str, other: str) -> None:
    """A contradiction between two pages is shown, not taken for a copy."""
    sentence = "The password of each account in the whole company must be changed every"
    pages = [PromptPassage(n, "Passwords", (), f"{sentence} {often}.") for n, often in enumerate((one, other), 1)]
    assert quoted("How often must the password be changed?", pages) == [f"{sentence} {one}.", f"{sentence} {other}."]


def test_the_words_of_title_heading_and_neighbour_count_half() -> None:
    """A sentence may leave its subject to what stands around it."""
    inside, around = (
        candidates("Zebra weight", [PromptPassage(1, title, (), text)])[0].coverage
        for title, text in (("", "The zebra has a weight."), ("Zebra", "It has a weight."))
    )
    assert inside == 1.0
    assert 0.5 < around < 1.0


def test_the_shortlist_is_bounded_and_in_a_fixed_order() -> None:
    """By words first, then by rank and place."""
    found = candidates(QUESTION, [TRAVEL, LEAVE])
    assert [c.text[:7] for c in shortlist(found, 2)] == ["Parents", "Ask you"]
    assert shortlist(found, 9) == shortlist(list(reversed(found)), 9)


def test_an_announcement_is_no_answer() -> None:
    """A line that ends with a colon only opens a list."""
    passage = PromptPassage(1, "", (), "Weeks of parental leave parents get:\n\n- 16 per birth")
    assert [c.text for c in candidates(QUESTION, [passage])] == ["16 per birth"]


def test_candidates_say_where_they_come_from() -> None:
    """Rank of the passage, place in it, context for the embedding."""
    found = candidates("x", [TRAVEL, PromptPassage(7, "", (), "# Head\n\nOne. Two.")])
    assert [(c.n, c.rank, c.position, c.embed_text) for c in found[2:]] == [
        (7, 1, 0, "Head One."),
        (7, 1, 1, "Head Two."),
    ]
    assert isinstance(found[0], Candidate)
