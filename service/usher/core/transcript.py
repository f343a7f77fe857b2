"""A conversation as its person sees it: exchanges, and one placeholder for whatever is hidden between two of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from usher.core.clean import clean
from usher.core.dialogue import runs_collapsed

Shown = UUID | None
"""An exchange, or None: here is something hidden."""


def clean_now(answer: str, link_hosts: Collection[str]) -> str:
    """An answer that was clean when it was recorded, without links to hosts that are allowed no more. Every address
    that it may have kept has a slash; cleaning takes milliseconds, so others are let be."""
    return clean(answer, link_hosts) if "/" in answer else answer


def shown(order: Sequence[UUID], visible: Collection[UUID]) -> list[Shown]:
    """The exchanges in this order, each run of hidden ones as one None."""
    return runs_collapsed(exchange if exchange in visible else None for exchange in order)


def page_before(entries: Sequence[Shown], place: UUID | None, limit: int) -> tuple[list[Shown], UUID | None]:
    """The `limit` entries before a visible exchange (None: the last ones), and the place to go on from (None: the page
    begins where the conversation does). A page begins with an exchange where it can: a place is an exchange's.

    Raises `ValueError` if that exchange is not among the entries.
    """
    end = len(entries) if place is None else entries.index(place)
    start = max(end - limit, 0)
    if start and entries[start] is None:
        start -= 1
    return list(entries[start:end]), entries[start] if start else None


def nearest_visible(parents: Mapping[UUID, UUID | None], visible: Collection[UUID]) -> dict[UUID, UUID | None]:
    """For each exchange the nearest one that it follows, on its branch, and that is visible; None if there is none."""
    nearest: dict[UUID, UUID | None] = {}
    for exchange in parents:
        on_the_way: list[UUID] = []
        at: UUID | None = exchange
        while at is not None and at not in nearest:
            nearest[at] = None
            on_the_way.append(at)
            at = parents.get(at)
            if at in visible:
                break
        found = at if at in visible else nearest.get(at) if at is not None else None
        nearest.update(dict.fromkeys(on_the_way, found))
    return nearest
