"""`/api/audit/events`: for those with `audit.read`, and recorded itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.web.chat_kit import QUESTION
from tests.web.world import POLICY, World, world

PATH = "/api/audit/events"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("audit")) as made:
        made.chat(QUESTION)
        made.chat(QUESTION, "erin")
        yield made


def read(usher: World, query: str = "") -> dict[str, Any]:
    response = usher.ask("GET", f"{PATH}?{query}", "dave")
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


def test_reading_needs_its_own_right(usher: World) -> None:
    """Whoever may ask may not audit, and what is refused stands not in the log."""
    before = len(usher.events())
    for who, status in (("bob", 403), ("carol", 403), (None, 401)):
        assert usher.ask("GET", PATH, who).status_code == status
    assert len(usher.events()) == before


def test_a_read_is_recorded_before_its_page(usher: World) -> None:
    """Who asked for what stands in the log, under a pseudonym."""
    body = read(usher, "type=answer&limit=7&from=2020-01-01T00:00:00Z")
    event = usher.events()[-1]
    assert (event["type"], event["event_type"], event["limit"]) == ("audit_read", "answer", 7)
    assert event["since"] == "2020-01-01T00:00:00+00:00"
    assert "dave" not in repr(event)
    assert {found["type"] for found in body["events"]} == {"answer"}
    assert read(usher, "type=audit_read&limit=500")["events"][-1]["number"] == len(usher.events())


def test_events_are_as_they_stand(usher: World) -> None:
    """Byte for byte the same values, in order, without names and text."""
    events = read(usher, "limit=500")["events"]
    assert events == usher.events()[: len(events)]
    assert all(word not in repr(events) for word in ("bob", "holiday", "handbook"))


def test_filters_hold_together(usher: World) -> None:
    """Type, outcome and time, each alone and together."""
    assert {event["outcome"] for event in read(usher, "outcome=refused")["events"]} == {"refused"}
    assert read(usher, "type=answer&outcome=answered")["events"][0]["outcome"] == "answered"
    assert read(usher, "type=request&outcome=answered")["events"] == []
    third = usher.events()[2]["time"]
    assert read(usher, f"to={third}")["events"] == usher.events()[:2]
    assert read(usher, f"from={third}&limit=1")["events"] == [usher.events()[2]]
    assert read(usher, f"from={third}&to={third}")["events"] == []
    assert read(usher, "from=" + quote("2999-01-01T00:00:00+02:00"))["events"] == []


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_pages_together_are_the_log(usher: World, limit: int) -> None:
    """`next` goes into `after`; the reads themselves come last."""
    size, after = len(usher.events()), 0
    found: list[dict[str, Any]] = []
    while len(found) < size:
        page = read(usher, f"limit={limit}&after={after}")
        found += page["events"]
        assert len(page["events"]) <= limit
        after = page["next"] or after
    assert found[:size] == usher.events()[:size]


BAD = {
    "limit=0": "limit",
    "limit=501": "limit",
    "limit=x": "limit",
    "after=-1": "after",
    "after=9223372036854775808": "after",
    "after=99999999999999999999999": "after",
    "type=nonsense": "type",
    "type=": "type",
    "outcome=two%20words": "outcome",
    "outcome=" + "x" * 4000: "outcome",
    "from=2026-01-01T00:00:00": "from",
    "to=2026-01-01": "to",
    "from=yesterday": "from",
    "to=1700000000": "to",
    "from=0001-01-01T00:00:00%2B14:00": "from",
    "to=9999-12-31T23:59:59-14:00": "to",
}


@pytest.mark.parametrize("query", BAD, ids=lambda query: query[:40])
def test_a_query_that_cannot_be_asked_is_400_and_unrecorded(usher: World, query: str) -> None:
    """It names the field, in the query's own words, and the remedy."""
    before = len(usher.events())
    response = usher.ask("GET", f"{PATH}?{query}", "dave")
    assert (response.status_code, response.json()["field"]) == (400, BAD[query])
    assert len(usher.events()) == before


def test_whoever_loses_the_right_while_the_page_is_read_does_not_get_it(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is judged again before it is given."""
    log = usher.services.audit.review._log
    real = log.events

    def meanwhile(*query: Any, **more: Any) -> Any:
        page = real(*query, **more)
        without = POLICY.replace("g, user:dave, role:auditor\n", "")
        asyncio.run_coroutine_threadsafe(usher.apply(without), usher.runner.get_loop()).result()
        return page

    monkeypatch.setattr(log, "events", meanwhile)
    assert usher.ask("GET", PATH, "dave").status_code == 403
    monkeypatch.undo()
    usher.run(usher.apply(POLICY))
