"""What a reviewer limited to collections is given of an event."""

from __future__ import annotations

from typing import Any

from usher.core.event_cut import cut_alone, documents_in
from usher.core.reach import Reach

MINE, OTHER = 3, 4
EVERYTHING = Reach(True, frozenset({MINE, OTHER}), whole=True)
BUT_ONE = Reach(True, frozenset({MINE}))
ONE = Reach(False, frozenset({MINE}))


def event(*classes: int | None, **more: Any) -> dict[str, Any]:
    passages = [{"document": f"d{number}", "access_class": number} for number in classes]
    return {"number": 5, "time": "t", "type": "retrieval", "passages": passages, "stale": 2, **more}


def test_all_of_it_is_the_very_event() -> None:
    """Within a reach of everything; also what lists no documents."""
    whole, other = event(MINE, OTHER), {"number": 1, "type": "key"}
    assert cut_alone(whole, EVERYTHING) is whole
    assert cut_alone(other, EVERYTHING) is other
    assert cut_alone(other, BUT_ONE) is other


def test_what_is_of_a_forbidden_collection_is_left_out() -> None:
    """With what may tell of it: counts, what is of no known class, an event that is about nothing else."""
    assert cut_alone(event(MINE, OTHER, None), BUT_ONE) == {k: v for k, v in event(MINE).items() if k != "stale"}
    assert cut_alone(event(OTHER), BUT_ONE) is None
    for kind in ("request", "answer", "case", "hold", "audit_read"):
        assert cut_alone({"number": 1, "type": kind, "exchange": "x", "document": f"d{OTHER}"}, BUT_ONE) is None


def test_an_event_about_one_document_is_within_reach_as_it_is() -> None:
    """By its class, known and not out of reach by now; without who did it."""
    put = {"number": 1, "type": "document", "op": "put", "document": "d", "by": "carol"}
    assert cut_alone(put | {"access_class": MINE}, BUT_ONE) == {k: v for k, v in put.items() if k != "by"} | {
        "access_class": MINE
    }
    for number, hidden in ((OTHER, ()), (None, ()), (MINE, ("d",))):
        assert cut_alone(put | {"access_class": number}, BUT_ONE, hidden) is None
    assert list(documents_in(put)) == ["d"]


def test_within_some_collections_an_event_is_only_about_their_documents() -> None:
    """Without counts of others or what it came from, documents of no known class, and events that list none."""
    left = {name: value for name, value in event(MINE).items() if name != "stale"}
    assert cut_alone(event(MINE, OTHER, None, exchanges=["x"]), ONE) == left | {"exchanges": []}
    assert cut_alone(event(OTHER), ONE) is None
    assert cut_alone(event(), ONE) is None
    assert cut_alone({"type": "key"}, ONE) is None
