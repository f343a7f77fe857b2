"""What a reviewer limited to collections is given of an event."""

from __future__ import annotations

from typing import Any

from usher.core.export_cut import cut
from usher.core.reach import Reach

MINE, OTHER = 3, 4
EVERYTHING = Reach(True, frozenset({MINE, OTHER}))
BUT_ONE = Reach(True, frozenset({MINE}))
ONE = Reach(False, frozenset({MINE}))


def event(*classes: int | None, **more: Any) -> dict[str, Any]:
    passages = [{"document": f"d{number}", "access_class": number} for number in classes]
    return {"number": 5, "time": "t", "type": "retrieval", "passages": passages, "stale": 2, **more}


def test_all_of_it_is_the_very_event() -> None:
    """Within a reach of everything; also what lists no documents."""
    whole, other = event(MINE, OTHER), {"number": 1, "type": "key"}
    assert cut(whole, EVERYTHING) is whole
    assert cut(other, EVERYTHING) is other
    assert cut(other, BUT_ONE) is other


def test_what_is_of_a_forbidden_collection_is_left_out() -> None:
    """And nothing else."""
    assert cut(event(MINE, OTHER, None), BUT_ONE) == event(MINE, None)


def test_within_some_collections_an_event_is_only_about_their_documents() -> None:
    """Without counts of others, without documents of no known class, and without events that list none of them."""
    assert cut(event(MINE, OTHER, None, exchanges=["x"]), ONE) == {k: v for k, v in event(MINE).items() if k != "stale"}
    assert cut(event(OTHER), ONE) is None
    assert cut(event(), ONE) is None
    assert cut({"type": "key"}, ONE) is None
