"""Questions and answers from a document's structure and from a model; what is masked; what is nearly the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from usher_lora.dataset_card import UNSTATED, lengths, licence
from usher_lora.dataset_masks import Masks
from usher_lora.dataset_model import LONGEST_PASSAGE, asked, passages, told
from usher_lora.dataset_near import clusters, first_of_each, shingles
from usher_lora.dataset_pairs import LONGEST_ANSWER, Maker, pairs

PAGE = """# Travel

A hotel may cost at most 140 euros for one night. Breakfast is extra.

## Is a taxi paid?

Yes, after ten at night, and with luggage.

## Words

**Per diem**: what is paid for each day of travel.
- Bonus: money that comes later
An allowance is paid. Allowance means money for a purpose.

Q: Who signs?
A: The head of the department.

## Limits

| City | Limit | Note |
|:---|---:|---|
| Oslo | 180 | |
| Bonn | 110 | fair |

```
# no heading
| a | b |
```
"""


def made() -> dict[str, tuple[str, Maker]]:
    return {pair.question: (pair.answer, pair.maker) for pair in pairs("Travel", PAGE)}


def test_sections_tables_definitions_and_questions_answer() -> None:
    """In the document's own words; a heading that asks is asked as it stands."""
    found = made()
    assert found["What does “Travel” say?"][0].startswith("A hotel may cost at most 140 euros")
    assert found["Is a taxi paid?"] == ("Yes, after ten at night, and with luggage.", Maker.QUESTION)
    assert found["Who signs?"] == ("The head of the department.", Maker.QUESTION)
    per_diem = found["What does “Travel” say of the term “Per diem”?"]
    assert per_diem == ("what is paid for each day of travel.", Maker.DEFINITION)
    assert found["What does “Travel” say of the term “Bonus”?"][0] == "money that comes later"
    cell = "By the table in “Limits” of “Travel”, what is “Limit” of “Oslo”?"
    assert found[cell] == ("180", Maker.TABLE)
    assert not any("“Note” of “Oslo”" in question for question in found)
    assert not any("no heading" in question for question in found)


def test_every_answer_stands_where_it_says() -> None:
    """From `start` to `end` of the text; a table's cell in its row."""
    for pair in pairs("Travel", PAGE):
        there = PAGE[pair.start : pair.end]
        assert pair.answer in there if pair.maker is Maker.TABLE else pair.answer == there


def test_a_long_section_is_cut_at_a_paragraph() -> None:
    """No answer is longer than the most."""
    (pair,) = pairs("Long", "# Long\n\n" + "\n\n".join(f"Sentence number {n} of many." for n in range(200)))
    assert len(pair.answer) <= LONGEST_ANSWER
    assert pair.answer.endswith("of many.")


@pytest.mark.parametrize(
    "text", ["", "#", "|", "|\n|-|\n", "```", "# \n\n## ", "****: ", "Q:\nA:", "\0", "- :", "| a\n|--\n"]
)
def test_what_has_no_structure_answers_nothing(text: str) -> None:
    """And nothing breaks."""
    assert pairs("Title", text) == []


def reply(**more: Any) -> str:
    given = {
        "question": "What may a hotel cost?",
        "answer": "At most 140 euros.",
        "quote": "A hotel may cost at most 140",
    }
    return json.dumps(given | more)


def believed(*lines: str) -> tuple[int, int]:
    passage = next(passages("Travel", PAGE.replace("Breakfast is extra.", "Breakfast is extra, everywhere.")))
    found, refused = told(passage, "\n".join(lines))
    for pair in found:
        assert pair.maker is Maker.MODEL
        assert pair.start >= passage.start
    return len(found), refused


def test_a_model_is_believed_with_a_quotation_that_holds() -> None:
    """White space may differ; a word may not, and a number in the answer must be the passage's."""
    assert believed(reply()) == (1, 0)
    assert believed(reply(quote="A hotel  may\ncost at most 140")) == (1, 0)
    assert believed(reply(quote="A hotel may cost at most 150")) == (0, 1)
    assert believed(reply(answer="At most 150 euros.")) == (0, 1)
    assert believed(reply(quote="A hotel")) == (0, 1)


@pytest.mark.parametrize(
    "line",
    ["{", '{"question": 1}', '{"question": "a"}', reply(quote=None), reply(answer=" "), "{" * 9999, '{"a": NaN}'],
)
def test_what_is_no_reply_is_counted(line: str) -> None:
    """Whatever a model says."""
    assert believed(line, "Here you are:", reply()) == (1, 1)


def test_a_reply_has_a_few_pairs_at_most() -> None:
    """What goes beyond is not believed."""
    assert believed(*[reply()] * 9) == (3, 6)


def test_a_model_is_asked_about_one_passage_at_a_time() -> None:
    """Each of a length that it can read, and given as data: what a passage says gives no orders."""
    text = "# Long\n\n" + "A sentence of the passage. " * 400
    found = list(passages("Long", text))
    assert len(found) > 2
    assert all(len(passage.text) <= LONGEST_PASSAGE for passage in found)
    assert "".join(passage.text for passage in found) == text.removeprefix("# Long")
    assert json.dumps(found[0].text) in asked(found[0])[1]["content"]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to a.b-c@mail.example.org.", "Write to [e-mail]."),
        ("Call +49 30 901820 or (030) 901820.", "Call [phone] or [phone]."),
        ("To DE89 3704 0044 0532 0130 00 please.", "To [iban] please."),
        ("To DE89370400440532013000, please.", "To [iban], please."),
        ("To GB82 WEST 1234 5698 7654 32.", "To [iban]."),
        ("To GB82 WEST 1234 5698 7654 33.", "To GB82 WEST 1234 5698 7654 33."),
        ("Card 4111 1111 1111 1111.", "Card [card]."),
        ("Card 4111 1111 1111 1112.", "Card 4111 1111 1111 1112."),
        ("His tax ID is 12345678901.", "His tax ID is [id]."),
        ("SSN 123-45-6789", "SSN [id]"),
        ("From 192.168.0.1 on.", "From [address] on."),
        ("Mira Holt, HOLT MIRA and mira.holt were there.", "[person], [person] and [person] were there."),
        ("Ask alice, not malice.", "Ask [person], not malice."),
        ("On 03.04.2021 in 2021-2022 it was 4,000,000.50 or 0.1234567.", None),
        ("Section 4.2, page 140, at 09:00, costs 18000000 euros.", None),
    ],
)
def test_what_a_rule_can_tell_is_masked(text: str, masked: str | None) -> None:
    """Where there is a checksum only if it holds; dates, amounts and section numbers stay."""
    assert Masks(["mira.holt", "alice", "bo"]).masked(text) == (text if masked is None else masked)


def test_nobody_in_the_directory_masks_nothing() -> None:
    """Nor does a name of two letters, which is in half of all words."""
    assert Masks().masked("bo and alice") == Masks(["bo"]).masked("bo and alice") == "bo and alice"


def test_near_duplicates_are_found_among_many() -> None:
    """The copy with one word changed, and no other; what is alike by way of a third is one cluster."""
    texts = [" ".join(f"w{n * 100 + word}" for word in range(60)) for n in range(40)]
    copy = texts[7].replace("w730", "changed")
    assert first_of_each([shingles(text) for text in [*texts, copy]]) == [True] * 40 + [False]
    further = copy.replace("w750", "changed too")
    assert clusters([shingles(text) for text in [*texts, further, copy]])[-2:] == [7, 7]


def test_lengths_and_licences_are_told() -> None:
    """The 95th of a hundred; what a document says of its licence, else that it says nothing."""
    assert lengths(range(1, 101)) == lengths(reversed(range(1, 101)))
    assert (lengths(range(1, 101)).median, lengths(range(1, 101)).p95) == (50, 95)
    assert licence("# A\n\nLicence: CC BY 4.0\n") == "CC BY 4.0"
    assert licence("<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->") == "MIT OR Apache-2.0"
    assert licence("It is under CC-BY-SA.") == "CC-BY-SA"
    assert licence("The driving licence is shown at the desk.") == UNSTATED
