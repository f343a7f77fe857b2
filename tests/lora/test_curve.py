"""The plots are sound XML, with words for whoever cannot see them."""

from __future__ import annotations

import math
from xml.etree import ElementTree as Xml

import pytest

from usher_lora.curve import HEIGHT, WIDTH, Line, lines, loss_curve

SPACE = "{http://www.w3.org/2000/svg}"


def drawn(svg: str) -> list[list[tuple[float, float]]]:
    found = Xml.fromstring(svg).findall(f"{SPACE}polyline")  # noqa: S314 - made by the code under test
    return [[tuple(map(float, point.split(","))) for point in one.get("points", "").split()] for one in found]  # type: ignore[misc]  # pairs, as SVG has it


def test_losses_are_drawn_by_step() -> None:
    """One line for what is trained on, one for what is held out; higher losses stand higher."""
    history = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 2, "eval_loss": 2.5}, {"train_runtime": 1}]
    trained, held = drawn(loss_curve(history))
    assert trained[0][0] < trained[1][0]
    assert trained[0][1] < held[0][1] < trained[1][1]
    assert "trained on: from 3 to 2 in 2 points" in loss_curve(history)


@pytest.mark.parametrize(
    "points", [[], [(0, 0)], [(1, 5), (2, 5)], [(0, math.nan), (1, math.inf)], [(1e-9, 1e9), (3, -1e9)]]
)
def test_any_points_stay_inside(points: list[tuple[float, float]]) -> None:
    """None, one, a flat line, numbers that are none, and very far ones."""
    for line in drawn(lines("p", "Points", ("x", "y"), [Line("a", "#000", points)])):
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line)


def test_words_are_escaped() -> None:
    """A name with markup in it stays a name."""
    svg = lines("p", "<script>", ("<b>", "&"), [Line("<i>", "#000", [(0, 0)])])
    assert "<script>" not in svg
    assert Xml.fromstring(svg).find(f"{SPACE}title").text == "<script>"  # type: ignore[union-attr]  # noqa: S314 - ours, and it is there
