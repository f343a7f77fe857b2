"""What a report counts, where the same document is found in several passages, or found and not shown."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from usher.backends.audit_index_report import figures
from usher.backends.audit_index_store import store
from usher.backends.audit_index_tables import SCHEMA
from usher.core.report_figures import DAY
from usher.ledger.shown import rows_of

PUBLIC, SECRET = 1, 2


def passage(document: str, rank: int, access_class: int, shown: bool) -> dict[str, Any]:
    return {"document": document, "version": 1, "chunk": f"c{rank}", "access_class": access_class} | {
        "rank": rank,
        "in_prompt": shown,
    }


def exchange(first: int, passages: list[dict[str, Any]], history: list[str]) -> list[dict[str, Any]]:
    ident = f"x{first}"
    parts: list[dict[str, Any]] = [
        {"type": "request", "operation": "chat"},
        {"type": "decision", "effect": "allow", "reason": "ok", "policy_version": 1, "route": {"kind": "retrieve"}},
        {"type": "retrieval", "outcome": "found", "passages": passages},
        {"type": "generation", "purpose": "answer", "history": history},
        {"type": "answer", "outcome": "answered", "cited": [1, 2]},
    ]
    head = {"audit_id": ident, "who": {"pseudonym": "p", "roles": ["role:a", "role:b"]}}
    return [{"number": first + n, "time": f"2026-10-0{first}T00:00:0{n}Z", **head, **p} for n, p in enumerate(parts)]


@pytest.fixture
def index() -> Iterator[sqlite3.Connection]:
    """Two exchanges: one that shows d in two passages and only finds s, and one that shows s."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.executescript(SCHEMA)
        found = [passage("d", 1, PUBLIC, True), passage("d", 2, PUBLIC, True), passage("s", 3, SECRET, False)]
        events = exchange(1, found, []) + exchange(6, [passage("s", 1, SECRET, True)], [])
        store(connection, [row for event in events for row in rows_of(event)], ("o", 10, b"leaf"))
        yield connection


def test_a_document_counts_once_in_each_question_and_only_where_it_was_shown(index: sqlite3.Connection) -> None:
    """However many of its passages were, and whatever else was found."""
    told = figures(index, 1, 10, DAY, {})
    assert [(one.document, one.shown, one.cited) for one in told.documents] == [("d", 1, 1), ("s", 1, 1)]
    assert told.indexed == 10


def test_what_was_only_found_is_no_showing_of_a_marked_document(index: sqlite3.Connection) -> None:
    """It is counted beside; nor is that a marked document was found by one that showed others."""
    told = figures(index, 1, 10, DAY, {"mark:m": [SECRET]}).exposures[0]
    assert (told.shown, told.inherited, told.people) == ({"2026-10-06": 1}, {"2026-10-01": 1}, 1)


def test_somebody_of_two_roles_counts_in_both(index: sqlite3.Connection) -> None:
    """And once in everything else."""
    told = figures(index, 1, 10, DAY, {})
    assert [(one.role, one.answered) for one in told.roles] == [("role:a", 2), ("role:b", 2)]
    assert told.activity == [("2026-10-01", "answered", 1), ("2026-10-06", "answered", 1)]


def test_only_the_span_is_counted(index: sqlite3.Connection) -> None:
    """By the numbers of what begins a question."""
    told = figures(index, 2, 10, DAY, {"mark:m": [SECRET]})
    assert [one.document for one in told.documents] == ["s"]
    assert (told.exposures[0].inherited, told.policies[0].count) == ({}, 1)
