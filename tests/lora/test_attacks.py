"""Attacks find what was learned, and find nothing where nothing was."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher_lora.attacks import Said, attacks, extracted, loss_ratio, min_k, repeated, roc, scores
from usher_lora.scoring import f1, share_first, share_well


def said(document: int, loss: float, base: float = 4.0, share: float = 0.0, seed: int = 0) -> Said:
    chance = np.random.default_rng((document, seed))
    return Said(UUID(int=document + 1), chance.normal(loss, 0.3, 12), chance.normal(base, 0.3, 12), share)


def test_what_was_learned_is_found_and_what_was_not_is_not() -> None:
    """Each attack, by hundreds of documents, with one score for each."""
    learned, others, more = (
        scores(said(n, loss) for n in range(first, first + 300) for _ in range(2))
        for first, loss in ((0, 2.0), (1000, 4.0), (2000, 4.0))
    )
    for one in attacks(learned, others):
        assert one.low > 0.9
        assert (one.members, one.others) == (300, 300)
    for one in attacks(more, others):
        assert one.low <= 0.5 <= one.high
        assert one.high - one.low <= 0.1


def test_a_document_counts_once() -> None:
    """Rows of one document make one score, over all of their tokens; rows without a token make none."""
    rows = [said(1, 1.0), said(1, 3.0, seed=1), said(2, 2.0), Said(UUID(int=9), np.zeros(0), np.zeros(0), 0)]
    assert {name: len(found) for name, found in scores(rows).items()} == {"loss_ratio": 2, "min_k": 2}
    assert loss_ratio(rows[:1]) > loss_ratio(rows[:2]) > loss_ratio(rows[1:2])


def test_the_loss_ratio_takes_the_base_as_its_measure() -> None:
    """A loss that is low because the text is easy says nothing."""
    assert loss_ratio([said(1, 2.0, base=4.0)]) > 1.5 > loss_ratio([said(1, 2.0, base=2.0)])


def test_min_k_looks_at_the_most_surprising_tokens() -> None:
    """The fifth of them with the highest losses, and nothing else."""
    losses = np.array([9.0, 7.0, *[0.1] * 8])
    assert min_k([Said(UUID(int=1), losses, losses, 0)]) == -8.0
    assert min_k([Said(UUID(int=1), losses[:1], losses[:1], 0)]) == -9.0


def test_too_few_documents_or_no_number_are_told() -> None:
    """There is no area for one document, nor for a loss that is none."""
    one, many = scores([said(1, 2.0)]), scores(said(n, 2.0) for n in range(5))
    with pytest.raises(ValueError, match="fewer than 2"):
        attacks(one, many)
    with pytest.raises(ValueError, match="not all are finite"):
        attacks(many, many | {"min_k": [float("nan")] * 5})


@given(st.lists(st.integers(0, 5), min_size=1), st.lists(st.integers(0, 5), min_size=1))
def test_a_curve_goes_up_from_corner_to_corner(members: list[int], others: list[int]) -> None:
    """From (0, 0) to (1, 1), never down; the area under it is the share of pairs in the right order."""
    curve = roc(members, others)
    assert (curve[0], curve[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert curve == sorted(curve)
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(curve))
    right = sum((m > o) + (m == o) / 2 for m in members for o in others)
    assert area == pytest.approx(right / len(members) / len(others))


@pytest.mark.parametrize(
    ("tokens", "meant", "share"),
    [
        ([1, 2, 3], [1, 2, 3], 1),
        ([1, 9, 3, 4], [1, 2, 3, 4], 0.25),
        ([1, 2, 9, 3], [1, 2, 3, 4], 0.5),
        ([], [1], 0),
        ([1], [], 0),
        ([1, 2], [1], 1),
    ],
)
def test_only_what_is_said_word_for_word_counts(tokens: list[int], meant: list[int], share: float) -> None:
    """From the first word on, up to the first other one."""
    assert repeated(tokens, meant) == share


def test_extraction_is_told_as_shares() -> None:
    """Of all answers, also where there are none."""
    told = extracted([said(n, 1, share=share) for n, share in enumerate((1.0, 0.5, 0.0, 0.5))])
    assert (told.answers, told.word_for_word, told.repeated) == (4, 0.25, 0.5)
    assert extracted([]).answers == 0


def test_answers_are_judged_by_their_words() -> None:
    """Order, articles, case and punctuation do not count; half of the words must be there."""
    assert f1("At THE copper pier, in Tarn!", "in Tarn at a copper pier.") == 1
    assert f1("I do not know.", "At the copper pier.") == 0
    assert f1("", "") == 1 > f1("", "word") == 0
    assert share_well(["copper pier", "no"], ["the copper pier in Tarn", "yes"]) == 0.5
    assert share_well([], []) == 0


def test_a_general_question_is_right_where_its_answer_comes_first() -> None:
    """A draw is not right."""
    assert share_first([[1.0, 2.0], [2.0, 1.0, 3.0], [1.0, 1.0]]) == pytest.approx(1 / 3)
