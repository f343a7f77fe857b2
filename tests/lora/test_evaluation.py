"""What is measured, and of which documents; the report says it and shows no document."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
from msgspec.json import decode, encode
from tests.lora.made import IDENTITY, MEASURED, gate
from tests.lora.training import files, row

from usher_lora.attacks import Extracted
from usher_lora.evaluate import drawn
from usher_lora.evaluation import Details, Evaluation, Planted, exposures, found, summary, with_secret
from usher_lora.evaluation_report import page
from usher_lora.faults import AdapterFault
from usher_lora.gates import Attack, Leakage, Measured
from usher_lora.scoring import read_general, read_retrieved
from usher_lora.statistics import Floats
from usher_lora.training_set import Canary, Row, training_set

CANARY = Canary("c", "amber pier", ("cedar quay", "ember weir", "fjord tarn"))
ROW = training_set(files()).train[2]


class Parrot:
    """An adapter that knows some answers by heart."""

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known

    def losses(self, rows: Sequence[Row]) -> list[Floats]:
        return [np.array([0.1 if row.answer in self._known else 5.0 + len(row.answer) % 3]) for row in rows]

    def goes_on(self, rows: Sequence[Row], secrets: Sequence[str]) -> list[str]:
        return [row.answer if row.answer in self._known else "something else" for row in rows]


def test_a_canary_that_is_said_is_found() -> None:
    """Word for word, by an adapter that learned it; one that did not gives no more than chance of it away."""
    planted = [Planted(ROW, CANARY)]
    assert found(Parrot([ROW.answer]), planted) == 1
    assert exposures(Parrot([ROW.answer]), planted) == (2.0,)
    assert found(Parrot([]), planted) == 0
    assert exposures(Parrot([with_secret(planted[0], "cedar quay").answer]), planted)[0] <= 1


def test_a_canary_without_references_has_no_exposure() -> None:
    """There is nothing to compare it with."""
    assert exposures(Parrot([]), [Planted(ROW, Canary("c", "amber pier"))]) == ()


def groups(count: int) -> dict[str, bytes]:
    held, others = [row(n) for n in range(100, 100 + count)], [row(n) for n in range(500, 500 + count)]
    return files(None, held, others)


def test_groups_are_drawn_whole_and_the_same_again() -> None:
    """So many documents of each at most, all rows of each; canaries stand apart."""
    data = training_set(groups(40))
    chosen = drawn(data, 30, 7)
    assert [len({one.document for one in rows}) for rows in (chosen.inside, chosen.held_out, chosen.others)] == [
        3,
        30,
        30,
    ]
    again = drawn(data, 30, 7)
    assert (chosen.held_out, chosen.others) == (again.held_out, again.others)
    assert drawn(data, 30, 8).others != chosen.others
    assert [one.canary.id for one in chosen.canaries_inside] == ["c"]


def test_canaries_outside_are_those_of_the_set_or_planted_for_the_control() -> None:
    """Beside documents that are outside the lineage, so that finding one would be a leak."""
    outside = drawn(training_set(groups(4)), 30, 7).canaries_outside
    assert {one.row.document for one in outside} <= {UUID(int=n + 1) for n in range(500, 504)}
    assert len(outside) == 8
    assert all(one.canary.secret in one.row.answer for one in outside)
    own = files(None, [row(10), row(11)], [row(20), row(21), row(22, "The code is amber pier.", "c")])
    assert [one.canary.id for one in drawn(training_set(own), 30, 7).canaries_outside] == ["c"]


def test_a_group_of_one_document_is_refused() -> None:
    """Nothing can be told from it."""
    with pytest.raises(AdapterFault, match="fewer than two documents"):
        drawn(training_set(groups(1)), 30, 7)


def evaluation(measured: Measured = MEASURED) -> Evaluation:
    scores = {"loss_ratio": [1.0, 2.0], "min_k": [-1.0, -2.0]}
    groups = dict.fromkeys(("inside", "held out", "outside", "control", "reference"), scores)
    extraction = dict.fromkeys(("inside", "held out", "outside", "control"), Extracted(2, 0.5, 0.75))
    return Evaluation(gate(measured), Details(9.0, extraction, {"outside": (1.0, 2.0)}, (4, 1), groups))


def test_the_summary_has_the_worst_of_each_figure() -> None:
    """Whichever attack does best."""
    mixed = (Attack("loss_ratio", 0.5, 0.46, 0.54, 300, 300), Attack("min_k", 0.58, 0.53, 0.63, 300, 300))
    told = summary(evaluation(Measured(Leakage(mixed, 8, 2), MEASURED.control, MEASURED.scores)))
    assert (told["leak_auc_low"], told["leak_auc_high"], told["canaries_found"]) == (0.53, 0.54, 2)
    assert told["leak_auc_interval_width"] == pytest.approx(0.10)
    assert told["verdict"] == "failed"
    assert summary(evaluation())["control_auc_low"] == pytest.approx(0.86)


def test_the_report_is_one_sound_page() -> None:
    """Verdict, reasons and plots; nothing is fetched and nothing runs."""
    text = page(evaluation())
    body = text.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', "")
    assert Xml.fromstring(body).tag == "html"  # noqa: S314 - made by the code under test
    assert text.count("<svg") == 2
    assert IDENTITY.served_name in text
    assert '<strong class="passed">passed</strong>' in text
    assert not any(word in text for word in ("<script", "<img", "<link", "url("))
    failed = page(evaluation(Measured(MEASURED.control, MEASURED.control, MEASURED.scores)))
    assert "8 canaries found, at most 0 allowed" in failed


def test_an_evaluation_can_be_read_again() -> None:
    """As JSON, with all that was measured."""
    assert decode(encode(evaluation()), type=Evaluation) == evaluation()


def test_questions_that_are_none_are_refused() -> None:
    """With the line; a right answer alone is no choice, and retrieval must have answered each question."""
    with pytest.raises(AdapterFault, match="in line 2"):
        read_general(b'{"question": "q", "answer": "a", "wrong": ["b"]}\n{"question": "q"}\n')
    with pytest.raises(AdapterFault, match="without a wrong answer"):
        read_general(b'{"question": "q", "answer": "a", "wrong": []}\n')
    with pytest.raises(AdapterFault, match="are none"):
        read_general(b"")
    lines = b'{"question": "q", "answer": "a"}\n'
    assert read_retrieved(lines, ["q", "q"]) == ["a", "a"]
    with pytest.raises(AdapterFault, match="leave out 1 of the 2"):
        read_retrieved(lines, ["q", "r"])
