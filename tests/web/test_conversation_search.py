"""`/api/conversations/search`: words found again in one's own questions and answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.web.conversation_kit import HOLIDAYS, HOTELS, ROUTE, Talker, talker
from tests.web.world import World, world

from usher import conversations, own_search


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("conversation_search")) as made:
        yield made


@pytest.fixture
def pat(usher: World) -> Talker:
    return talker(usher, "staff")


def test_a_search_finds_words_and_says_where(pat: Talker) -> None:
    """All of them, in question and answer together, whatever their case; newest first; with their places."""
    conversation, other = pat.ask(HOLIDAYS)[0], pat.ask(HOTELS)[0]
    [hit] = pat.get("/search?q=HOTEL euros")["hits"]
    assert (hit["conversation"], hit["audit_id"], hit["part"]) == (other.conversation, other.audit_id, "answer")
    shown = [hit["snippet"][place["start"] : place["end"]] for place in hit["matches"]]
    assert [word.casefold() for word in shown] == ["hotel", "euros"]
    assert pat.get("/search?q=holiday hotel") == {"hits": [], "complete": True}
    both = pat.get("/search?q=one")
    every = pat.get("/search?q=e&limit=1")
    assert both["complete"]
    assert (every["hits"][0]["audit_id"], every["complete"]) == (other.audit_id, False)
    again = pat.ask(HOLIDAYS, conversation.conversation)[0]
    assert [hit["audit_id"] for hit in pat.get("/search?q=days")["hits"]] == [again.audit_id, conversation.audit_id]


def test_a_search_keeps_nobody_waiting(usher: World, pat: Talker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking through texts takes time beside the event loop, not on it."""
    pat.ask(HOLIDAYS)
    look, ticks = own_search.holds, 0

    def slowly(*given: Any) -> bool:
        time.sleep(0.2)
        return look(*given)

    async def story() -> None:
        nonlocal ticks
        searching = asyncio.ensure_future(usher.asked("GET", f"{ROUTE}/search?q=e", pat.name))
        while not searching.done():
            await asyncio.sleep(0.005)
            ticks += 1

    monkeypatch.setattr(own_search, "holds", slowly)
    usher.run(story())
    assert ticks > 10


def test_a_search_looks_at_the_newest_and_for_a_bounded_time(pat: Talker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it did not come to it says."""
    asked = [pat.ask(question)[0].audit_id for question in (HOLIDAYS, HOTELS, HOTELS)]
    monkeypatch.setattr(conversations, "SEARCHED", 2)
    found = pat.get("/search?q=e")
    assert ([hit["audit_id"] for hit in found["hits"]], found["complete"]) == (asked[:0:-1], False)
    monkeypatch.undo()
    monkeypatch.setattr(own_search, "BATCH", 1)
    monkeypatch.setattr(own_search, "SECONDS", 0.0)
    found = pat.get("/search?q=e")
    assert not found["complete"]
    assert len(found["hits"]) < 3
