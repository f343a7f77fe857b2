"""Lines as SVG, in one file that needs nothing else: a training's losses, and how attacks fare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

WIDTH: Final = 680
HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 44, 42


@dataclass(frozen=True, slots=True)
class Line:
    """`points` are (x, y); `dash` is told apart without colour, as SVG writes it ("" for none)."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    dash: str = ""


def loss_curve(history: Sequence[Mapping[str, Any]]) -> str:
    """The losses of a training by step, from what its trainer logged."""
    trained = [(float(one["step"]), float(one["loss"])) for one in history if "loss" in one and "step" in one]
    held = [(float(one["step"]), float(one["eval_loss"])) for one in history if "eval_loss" in one and "step" in one]
    series = (Line("trained on", "#1f5fa8", trained), Line("held out", "#b3541e", held, "6 3"))
    return lines("loss", "Loss by step", ("step", "loss"), series)


def lines(ident: str, title: str, axes: tuple[str, str], series: Sequence[Line]) -> str:
    """Lines over two axes, from the lowest to the highest finite value, with words for whoever cannot see them. `ident`
    is the plot's own on its page."""
    series = [Line(one.name, one.colour, tuple(_finite(one.points)), one.dash) for one in series]
    every = [point for one in series for point in one.points] or [(0.0, 0.0)]
    x, y = _Axis.over([p[0] for p in every]), _Axis.over([p[1] for p in every])
    parts = [
        f'<title id="{ident}-title">{escape(title)}</title><desc id="{ident}-desc">{escape(_words(series))}</desc>',
        *_grid(x, y),
        *(_drawn(one, x, y) for one in series if one.points),
        *_legend(series),
        f'<text x="{(WIDTH + _LEFT) / 2:g}" y="{HEIGHT - 6}" text-anchor="middle">{escape(axes[0])}</text>',
        f'<text x="{_LEFT}" y="{_TOP - 8}" text-anchor="end">{escape(axes[1])}</text>',
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{ident}-title {ident}-desc" font-family="system-ui, sans-serif" font-size="11" fill="#333">'
    )
    return head + "".join(parts) + "</svg>"


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    step: float

    @classmethod
    def over(cls, values: Sequence[float]) -> _Axis:
        low, high = min(values), max(values)
        span = high - low or max(abs(high), 1.0)
        power = 10.0 ** math.floor(math.log10(span / 4))
        step = next((n * power for n in (1, 2, 5) if span / (n * power) <= 5), 10 * power)
        return cls(math.floor(low / step) * step, max(math.ceil(high / step), math.floor(low / step) + 1) * step, step)

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> Iterator[float]:
        for n in range(round((self.high - self.low) / self.step) + 1):
            yield self.low + n * self.step


def _finite(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    return (point for point in points if math.isfinite(point[0]) and math.isfinite(point[1]))


def _x(share: float) -> float:
    return _LEFT + share * (WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


def _grid(x: _Axis, y: _Axis) -> Iterator[str]:
    for value in y.ticks():
        at = _y(y.share(value))
        yield f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ccc"/>'
        yield f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:.6g}</text>'
    for value in x.ticks():
        yield f'<text x="{_x(x.share(value)):.1f}" y="{HEIGHT - 24}" text-anchor="middle">{value:.6g}</text>'


def _drawn(one: Line, x: _Axis, y: _Axis) -> str:
    points = " ".join(f"{_x(x.share(at)):.1f},{_y(y.share(value)):.1f}" for at, value in one.points)
    dash = f' stroke-dasharray="{one.dash}"' if one.dash else ""
    return f'<polyline fill="none" stroke="{one.colour}" stroke-width="1.6"{dash} points="{points}"/>'


def _legend(series: Sequence[Line]) -> Iterator[str]:
    at = _LEFT + 20
    for one in series:
        dash = f' stroke-dasharray="{one.dash}"' if one.dash else ""
        yield f'<line x1="{at}" x2="{at + 22}" y1="14" y2="14" stroke="{one.colour}" stroke-width="2"{dash}/>'
        yield f'<text x="{at + 28}" y="18">{escape(one.name)}</text>'
        at += 44 + 7 * len(one.name)


def _words(series: Sequence[Line]) -> str:
    told = [
        f"{one.name}: from {one.points[0][1]:.4g} to {one.points[-1][1]:.4g} in {len(one.points)} points"
        for one in series
        if one.points
    ]
    return ". ".join(told) + "." if told else "Nothing was measured."
