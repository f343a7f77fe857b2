"""Documents that were written to hold up whoever makes a data set of them."""

from __future__ import annotations

import time

import pytest

from usher_lora.dataset_pairs import pairs

LONG = 200_000

HOLDING_UP = {
    "a heading of blanks and number signs": "# " + "# " * LONG + "x",
    "a heading of number signs": "# " + "#" * LONG + "x",
    "a question of stars": "Q: " + "*" * LONG + "x\nA: nothing at all",
    "a line of stars": "*" * LONG + "x",
    "rules of tables, one below the other": "|--|--\n" * 20_000,
    "a term of blanks": "A " + " " * LONG + "means",
}


@pytest.mark.parametrize("what", HOLDING_UP)
def test_what_a_document_says_costs_no_more_than_its_length(what: str) -> None:
    """Nothing takes the square of a line, or of the number of lines: the server would stand still for hours."""
    began = time.process_time()
    pairs("Title", HOLDING_UP[what])
    assert time.process_time() - began < 2


def test_what_may_stand_at_the_end_of_a_heading_or_a_question_is_cut_off() -> None:
    """Closing number signs and stars are no part of what is asked."""
    text = "# Leave #  #\n\nEverybody has thirty days of leave.\n\n**Q: Who asks?**\n\nA: The lead asks for it.\n"
    asked = [pair.question for pair in pairs("Guide", text)]
    assert asked == ["Who asks?", "What does “Guide” say about “Leave”?"]
