"""Documents that were written to hold up whoever makes a data set of them, or to have rules see past somebody."""

from __future__ import annotations

import time

import pytest

from usher_lora.dataset_masks import Masks
from usher_lora.dataset_near import clusters, first_of_each, shingles
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


SET_OTHERWISE = {
    "a number with spaces that do not break": "+49\u00a030\u202f90 18 20",
    "a number with thin spaces": "+49\u2009170\u20091234567",
    "a card with hyphens that do not break": "4111\u20111111\u20111111\u20111111",
    "an account with spaces that do not break": "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000",
    "an address with a soft hyphen": "desk@exam\u00adple.org",
    "an address with a wide at": "desk\uff20example.org",
    "wide digits": "\uff10\uff13\uff10 \uff19\uff10\uff11\uff18\uff12\uff10",
    "a name with a hyphen that does not break": "Mira\u2011Holt",
    "a name with signs that nobody sees": "M\u00adira\u200b Ho\u200dlt",
    "a name in wide letters": "\uff4d\uff49\uff52\uff41 Holt",
    "a name with accents of their own": "Ju\u0308rgen Meyer",
    "a social security number": "123\u201145\u20116789",
}


@pytest.mark.parametrize("what", SET_OTHERWISE)
def test_how_a_text_is_set_hides_nobody(what: str) -> None:
    """Word processors set spaces and hyphens that do not break; none of it is left."""
    masks = Masks(["mira.holt", "j\u00fcrgen.meyer"])
    assert masks.masked(f"Ask {SET_OTHERWISE[what]} today.").split("[")[0] == "Ask "
    assert masks.masked(f"Ask {SET_OTHERWISE[what]} today.").endswith("] today.")


def test_what_a_script_needs_stays() -> None:
    """Joiners between letters and signs that have a use for them, and typography that hides nothing."""
    text = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f469\u200d\U0001f4bb \uff0c 5 m\u00b2 \u2013 \u00bd"
    assert Masks().masked(text) == text


ALIKE = 150
WORDS = " ".join(f"word{number}" for number in range(300))


@pytest.mark.slow
def test_texts_that_are_all_alike_are_not_compared_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long table, or a thousand copies of a document: some comparisons for each."""
    compared = 0

    def counted(one: frozenset[int], other: frozenset[int]) -> float:
        nonlocal compared
        compared += 1
        return len(one & other) / len(one | other)

    monkeypatch.setattr("usher_lora.dataset_near.likeness", counted)
    texts = [shingles(f"{WORDS} {number}") for number in range(ALIKE)]
    assert first_of_each(texts) == [True, *[False] * (ALIKE - 1)]
    assert set(clusters(texts)) == {0}
    assert compared <= 2 * ALIKE
