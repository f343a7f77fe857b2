"""HTML as values: whatever is not HTML already is text, and escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_STEERING = dict.fromkeys(
    [
        *range(9),
        *range(11, 32),
        *range(127, 160),
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    ],
    "\ufffd",
)
"""Control and direction-changing characters: with them a name could look like something else."""
_SHORT = 20
"""Rows of a table that is kept on one page."""
_EMPTY = frozenset({"meta", "br", "rect", "line"})


class Html(str):
    """Text that is HTML."""

    __slots__ = ()


Child = str | int | Html | None


def text(value: object) -> Html:
    """Something as text."""
    return value if isinstance(value, Html) else Html(html.escape(str(value).translate(_STEERING)))


def el(tag: str, *children: Child, **attributes: object) -> Html:
    """An element. An attribute's `_` stands for `-`, one at its end for nothing; without a value it is left out."""
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{text(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _EMPTY:
        return Html(f"<{tag}{named}>" if tag in ("meta", "br") else f"<{tag}{named}/>")
    return Html(f"<{tag}{named}>{join(children)}</{tag}>")


def join(children: Iterable[Child], between: str = "") -> Html:
    return Html(between.join(text(child) for child in children if child is not None))


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Child]], empty: str = "None.") -> Html:
    """A table whose first column names its rows; numbers stand to the right. Without rows, a word."""
    rows = list(rows)
    if not rows:
        return el("p", f"{caption}: ", el("em", empty))
    lines = [el("tr", *(_cell(place, value) for place, value in enumerate(row))) for row in rows]
    numbers = ["n" if isinstance(value, int) else None for value in rows[0]]
    head = [el("th", name, scope="col", class_=kind) for name, kind in zip(heads, numbers, strict=True)]
    made = el("table", el("caption", caption), el("thead", el("tr", *head)), el("tbody", *lines))
    return el("div", made, class_="kept" if len(rows) <= _SHORT else None)


def _cell(place: int, value: Child) -> Html:
    if place == 0:
        return el("th", value, scope="row")
    if isinstance(value, int):
        return el("td", f"{value:,}", class_="n")
    return el("td", "\u2013" if value is None else value)
