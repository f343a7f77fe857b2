"""Plots as inline SVG: stacked bars over time, readable in print, with words for whoever cannot see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from usher.core.report_html import Html, el, join

WIDTH, HEIGHT = 680, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 28, 24
_INNER_WIDTH, _INNER_HEIGHT = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
_LABELS = 7
"""Times that are written below a plot, at most."""
_LONGEST_TIME = 84
"""How wide one of them may be."""


@dataclass(frozen=True, slots=True)
class Series:
    """One part of every bar: its name, its colour, and its height by bucket. `hatched` is told apart without colour."""

    name: str
    colour: str
    values: Mapping[str, int]
    hatched: bool = False

    @property
    def total(self) -> int:
        return sum(self.values.values())


def bars(ident: str, title: str, buckets: Sequence[str], series: Sequence[Series]) -> Html:
    """Stacked bars, one for each bucket. `ident` is the plot's own on its page."""
    highest = max((sum(one.values.get(name, 0) for one in series) for name in buckets), default=0)
    step = _step(highest)
    top = max(step, -(-highest // step) * step)
    parts = [
        el("title", title, id=f"{ident}-title"),
        el("desc", _words(buckets, series), id=f"{ident}-desc"),
        join(_pattern(ident, one) for one in series if one.hatched),
        join(_grid(top, step)),
        join(_bars(ident, buckets, series, top)),
        join(_times(buckets)),
        join(_legend(ident, series)),
    ]
    return el(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=f"{ident}-title {ident}-desc",
        font_family="system-ui, sans-serif",
        font_size="11",
        fill="#333",
    )


def _words(buckets: Sequence[str], series: Sequence[Series]) -> str:
    """What the plot shows."""
    if not buckets:
        return "Nothing happened."
    totals = ", ".join(f"{one.name}: {one.total}" for one in series)
    at = {name: sum(one.values.get(name, 0) for one in series) for name in buckets}
    peak = max(at, key=lambda name: at[name])
    return f"From {buckets[0]} to {buckets[-1]} UTC. {totals}. Most at {peak}: {at[peak]}."


def _step(highest: int) -> int:
    """Between two lines of the grid: 1, 2 or 5 times a power of ten, so that there are at most five."""
    step = 1
    while highest > 5 * step:
        step = step * 2 if str(step)[0] in "15" else step // 2 * 5
    return step


def _grid(top: int, step: int) -> Iterator[Html]:
    for value in range(0, top + 1, step):
        y = _number(_y(value, top))
        yield el(
            "line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, stroke="#bbb" if value else "#333", stroke_width="0.6"
        )
        yield el("text", f"{value:,}", x=_LEFT - 6, y=_number(_y(value, top) + 4), text_anchor="end")


def _bars(ident: str, buckets: Sequence[str], series: Sequence[Series], top: int) -> Iterator[Html]:
    for place, name in enumerate(buckets):
        base = 0
        for number, one in enumerate(series):
            value = one.values.get(name, 0)
            if value:
                yield _bar(place, len(buckets), base, base + value, top, _fill(ident, number, one), one.colour)
            base += value


def _bar(place: int, places: int, low: int, high: int, top: int, fill: str, colour: str) -> Html:
    slot = _INNER_WIDTH / places
    return el(
        "rect",
        x=_number(_LEFT + place * slot + slot * 0.1),
        y=_number(_y(high, top)),
        width=_number(max(min(slot * 0.8, 40), 0.5)),
        height=_number(_y(low, top) - _y(high, top)),
        fill=fill,
        stroke=colour,
        stroke_width="0.4",
    )


def _times(buckets: Sequence[str]) -> Iterator[Html]:
    every = max(1, -(-len(buckets) // _LABELS))
    slot = _INNER_WIDTH / max(1, len(buckets))
    for place in range(0, len(buckets), every):
        x = _LEFT + place * slot
        if x < WIDTH - _LONGEST_TIME:
            words = buckets[place].replace("T", " ") + ("h" if "T" in buckets[place] else "")
            yield el("text", words, x=_number(x), y=HEIGHT - 8)


def _legend(ident: str, series: Sequence[Series]) -> Iterator[Html]:
    x = _LEFT
    for number, one in enumerate(series):
        yield el("rect", x=x, y=6, width=11, height=11, fill=_fill(ident, number, one), stroke=one.colour)
        words = f"{one.name} ({one.total:,})"
        yield el("text", words, x=x + 16, y=16)
        x += 34 + 6 * len(words)


def _pattern(ident: str, one: Series) -> Html:
    stripe = el("rect", width=2.2, height=5, fill=one.colour)
    ground = el("rect", width=5, height=5, fill="#fff")
    turned = {"patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)"}
    return el("pattern", ground, stripe, id=f"{ident}-hatch", width=5, height=5, **turned)


def _fill(ident: str, number: int, one: Series) -> str:
    return f"url(#{ident}-hatch)" if one.hatched else one.colour


def _y(value: int, top: int) -> float:
    return _TOP + _INNER_HEIGHT * (1 - value / top)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
