"""A conversation as its person sees it, and the places in it."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core.place import cursor_of, place_of
from usher.core.titles import checked_title
from usher.core.transcript import nearest_visible, page_before, shown
from usher.errors import UserError

NOW = datetime(2026, 11, 22, 9, 30, 0, 123456, tzinfo=UTC)

worlds = st.integers(0, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.tuples(*(st.one_of(st.none(), st.integers(0, max(i - 1, 0))) for i in range(n))),
    )
)
"""Exchanges that may be seen or not, each after an earlier one or none."""


def ident(n: int) -> UUID:
    return UUID(int=n + 1)


def ids(seen: list[bool]) -> tuple[list[UUID], set[UUID]]:
    order = [ident(n) for n in range(len(seen))]
    return order, {one for one, may in zip(order, seen, strict=True) if may}


@given(worlds)
def test_a_parent_is_the_nearest_one_that_is_visible(world: tuple[list[bool], tuple[int | None, ...]]) -> None:
    """On the exchange's own branch, past any number of hidden ones."""
    seen, after = world
    order, visible = ids(seen)
    parents = {
        one: None if n is None or n == i else ident(n) for i, (one, n) in enumerate(zip(order, after, strict=True))
    }

    def walked(one: UUID) -> UUID | None:
        parent = parents[one]
        return parent if parent is None or parent in visible else walked(parent)

    assert nearest_visible(parents, visible) == {one: walked(one) for one in order}


def test_parents_in_a_circle_lead_nowhere() -> None:
    """No such thing is ever written; if it were, reading would still end."""
    circle = {ident(0): ident(1), ident(1): ident(0)}
    assert nearest_visible(circle, ()) == {ident(0): None, ident(1): None}
    assert nearest_visible({ident(0): ident(7)}, ()).get(ident(0)) is None


@given(st.lists(st.booleans(), max_size=15), st.integers(1, 5))
def test_pages_of_a_conversation_together_are_all_of_it(seen: list[bool], limit: int) -> None:
    """Nothing twice, nothing missing; a run of hidden exchanges is one entry on one page, however long it is."""
    order, visible = ids(seen)
    entries = shown(order, visible)
    page, place = page_before(entries, None, limit)
    together = page
    while place is not None:
        page, place = page_before(entries, place, limit)
        assert 0 < len(page) <= limit + 1
        together = page + together
    assert together == entries
    assert [one for one in together if one is not None] == [one for one in order if one in visible]
    assert not any(a is b is None for a, b in pairwise(entries))


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.lists(st.integers(1, 6), min_size=8, max_size=8))
def test_how_many_are_hidden_shows_nowhere(seen: list[bool], runs: list[int]) -> None:
    """A run of one hidden exchange and a run of six give the same pages and the same parents."""
    one_each, longer = [], []
    for n, (may, run) in enumerate(zip(seen, runs, strict=False)):
        one_each.append((ident(n), may))
        longer += [(ident(n), True)] if may else [(ident(n + 100 * k), False) for k in range(run)]

    def view(rows: list[tuple[UUID, bool]]) -> tuple[object, object]:
        order, visible = [row for row, _ in rows], {row for row, may in rows if may}
        chain = dict(zip(order, [None, *order], strict=False))
        parents = nearest_visible(chain, visible)
        return page_before(shown(order, visible), None, 3), {row: parents[row] for row in visible}

    assert view(one_each) == view(longer)


def test_a_hidden_exchange_is_no_place() -> None:
    """Nor is one of another conversation."""
    entries = shown([ident(0), ident(1)], {ident(1)})
    for place in (ident(0), ident(9)):
        with pytest.raises(ValueError, match="not in list"):
            page_before(entries, place, 5)


def digest(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)


@given(st.integers(0, 2**52), st.uuids())
def test_a_cursor_leads_back_to_its_place(micros: int, item: UUID) -> None:
    """To the microsecond."""
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    assert place_of(lambda text: digest(b"a", text), cursor_of(lambda text: digest(b"a", text), instant, item)) == (
        instant,
        item,
    )


def test_a_cursor_that_this_server_did_not_make_for_this_person_is_refused() -> None:
    """Another's, a changed one, a made-up one, and what is no cursor at all: the same error."""
    mine = cursor_of(lambda text: digest(b"mine", text), NOW, ident(1))
    place = bytes(8) + ident(1).bytes
    wrong = [
        cursor_of(lambda text: digest(b"theirs", text), NOW, ident(1)),
        *(mine[:n] + ("A" if mine[n] != "A" else "B") + mine[n + 1 :] for n in range(len(mine))),
        *(mine[:n] for n in range(len(mine))),
        mine + mine,
        urlsafe_b64encode(place + bytes(18)).decode(),
        urlsafe_b64encode(place).decode(),
        *("", "x", "%00", "é", "\ud800", "=" * 56, "0" * 56, str(ident(1)), "A" * 100_000),
    ]
    problems = set()
    for cursor in wrong:
        with pytest.raises(UserError) as error:
            place_of(lambda text: digest(b"mine", text), cursor)
        problems.add(str(error.value))
    assert len(problems) == 1


@pytest.mark.parametrize("title", ["", "  ", "\t\n", "x" * 201, "a\nb", "a\0b", "a\u202eb", "a\u200bb", "a\u2028b"])
def test_a_title_that_cannot_be_shown_is_refused(title: str) -> None:
    """Empty, too long, or with what a reader cannot see; without quoting it."""
    with pytest.raises(UserError, match=r"^title ") as error:
        checked_title(title)
    assert not title.strip() or title not in str(error.value)


@pytest.mark.parametrize(
    ("title", "kept"),
    [(" Hotels  ", "Hotels"), ("x" * 200, "x" * 200), ("e\u0301", "\xe9"), ("👩\u200d🔬 lab", "👩\u200d🔬 lab")],
)
def test_a_title_is_kept_as_it_reads(title: str, kept: str) -> None:
    """In composed characters, without outer space; emoji of several parts stay whole."""
    assert checked_title(title) == kept
