"""Paging through the events, for those who read the audit log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.ledger.ledger_kit import exchange, ledger_in, run, search

from usher.backends import ledger_tables
from usher.backends.ledger_sql import SqlLog
from usher.ledger.record import Entry, EventType

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> SqlLog:
    """28 events, a second or two apart from the start on: four exchanges, a search, five acts of the operator."""
    folder, ticks = tmp_path_factory.mktemp("log"), iter(range(1000))

    def clock() -> int:
        return int(START.timestamp() + next(ticks)) * 1_000_000_000

    async def story() -> None:
        async with ledger_in(folder, clock=clock) as ledger:
            for _ in range(4):
                await exchange(ledger)
            await search(ledger)
            await ledger.append([Entry(EventType.OPERATOR, body={"outcome": "done"})] * 5)

    run(story())
    return SqlLog(folder / "ledger.sqlite")


def numbers(page: ledger_tables.EventPage) -> list[int]:
    assert [event["number"] for _, event in page.events] == [number for number, _ in page.events]
    return [number for number, _ in page.events]


def test_pages_follow_each_other_to_the_end(log: SqlLog) -> None:
    """Each page begins after the one before it; the last one has no next."""
    seen, after = [], 0
    while after is not None:
        page = log.events(after, 10)
        seen.append(numbers(page))
        after = page.next
    assert seen == [list(range(1, 11)), list(range(11, 21)), list(range(21, 29))]
    assert log.events(28, 10) == ledger_tables.EventPage((), None)
    assert log.events(1000, 10) == ledger_tables.EventPage((), None)


def test_a_page_that_ends_with_the_log_has_no_next(log: SqlLog) -> None:
    """A full page that holds the last event is the last page."""
    assert log.events(18, 10).next is None


def test_filters_by_type_and_outcome(log: SqlLog) -> None:
    """Only events of that type and outcome are given, both together too."""
    assert numbers(log.events(0, 50, type=EventType.ANSWER)) == [5, 10, 15, 20]
    assert numbers(log.events(0, 50, outcome="done")) == [24, 25, 26, 27, 28]
    assert numbers(log.events(5, 50, type=EventType.ANSWER, outcome="answered")) == [10, 15, 20]
    assert numbers(log.events(0, 50, type=EventType.ANSWER, outcome="done")) == []
    assert log.events(0, 2, type=EventType.ANSWER).next == 10


@pytest.mark.parametrize("limit", [3, 50])
def test_times_bound_a_page(log: SqlLog, limit: int) -> None:
    """`since` is included and `until` excluded; bounds outside the log bound nothing; an empty span is empty."""
    second = [datetime.fromisoformat(str(event["time"])) for _, event in log.events(0, 50).events]
    second.append(second[-1] + timedelta(seconds=10))
    assert numbers(log.events(0, 50, since=second[3], until=second[6])) == [4, 5, 6]
    assert numbers(log.events(4, limit, since=second[3], until=second[6])) == [5, 6]
    assert log.events(0, 50, since=second[3], until=second[6]).next is None
    assert len(numbers(log.events(0, 50, since=second[0], until=second[-1]))) == 28
    assert numbers(log.events(0, 50, since=second[-1])) == []
    assert numbers(log.events(0, 50, until=second[0])) == []
    assert numbers(log.events(0, 50, since=second[6], until=second[3])) == []
    assert log.events(0, 50, since=second[6], until=second[3]).next is None


def test_a_rare_event_costs_bounded_work(log: SqlLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call looks at a bounded number of events and says where to go on, though its page is empty."""
    monkeypatch.setattr(ledger_tables, "SCAN_EVENTS", 6)
    page = log.events(0, 50, outcome="done")
    assert (numbers(page), page.next) == ([], 6)
    seen, after = [], 0
    while after is not None:
        page = log.events(after, 50, outcome="done")
        seen += numbers(page)
        after = page.next
    assert seen == [24, 25, 26, 27, 28]
