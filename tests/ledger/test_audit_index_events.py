"""The index of the log by examples: which events are found, and how much of them within a limited reach."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.ledger.audit_index_kit import DOCUMENTS, PEOPLE, Act, History, chat, index_of, told

from usher.ledger.record import EventType
from usher.ports.audit_index import Between, Wanted, What, Within


def within(*classes: int, hidden: Sequence[UUID] = ()) -> Within:
    return Within(frozenset(classes), frozenset(map(str, hidden)))


def test_a_cut_event_tells_no_counts_and_no_digests(tmp_path: Path) -> None:
    """What a later release adds to an event is out of a limited reach until it is named as within it."""
    history = told(chat(0, 1))
    history.bodies[2]["passages"][0]["access_class"] = 2
    made = History()
    for body in history.bodies:
        own = {name: value for name, value in body.items() if name not in ("number", "at", "type", "audit_id", "who")}
        extra = {"stale": 7, "leaks": ["x"], "scope_digest": "d", "scope_rules": ["r"], "access_classes": 9, "new": 1}
        made.add(body["type"], body["audit_id"], body["who"], own | extra)
    index = index_of(made, tmp_path)
    events = index.events(Wanted(), Between(0, 10), within(1)).entries
    assert [event["type"] for event in events] == ["request", "decision", "retrieval", "generation", "answer"]
    assert not any(name in event for event in events for name in ("stale", "leaks", "scope_digest", "scope_rules"))
    assert not any(name in event for event in events for name in ("access_classes", "new"))
    assert [passage["document"] for passage in events[2]["passages"]] == [str(DOCUMENTS[1])]
    assert (events[4]["cited"], made.bodies[4]["cited"]) == ([], [1])
    index.close()


def test_events_are_found_by_document_and_by_person(tmp_path: Path) -> None:
    """All events of what found a document, and the document's own; all by somebody or about them."""
    history = told(chat(0), chat(1, person=1), chat(0, 1, person=1))
    history.add(EventType.LABEL, None, None, {"document": str(DOCUMENTS[0]), "access_class": 2, "op": "label"})
    history.add(EventType.KEY, None, None, {"subject": PEOPLE[1], "act": "revoke"})
    history.add(EventType.AUDIT_READ, None, PEOPLE[1], {"question": "who_saw", "document": str(DOCUMENTS[1])})
    history.add(EventType.FEEDBACK, None, None, {"exchange": history.exchanges[0], "subject": PEOPLE[0]})
    index = index_of(history, tmp_path)

    def numbers(wanted: Wanted, limits: Within | None = None, **more: Any) -> list[int]:
        return [event["number"] for event in index.events(wanted, Between(0, 500, **more), limits).entries]

    assert numbers(Wanted(document=DOCUMENTS[0])) == [*range(1, 6), *range(11, 17), 19]
    assert numbers(Wanted(document=DOCUMENTS[1])) == [*range(6, 16), 18]
    assert numbers(Wanted(pseudonym=PEOPLE[1])) == [*range(6, 16), 17, 18]
    assert numbers(Wanted(document=DOCUMENTS[0], pseudonym=PEOPLE[1])) == list(range(11, 16))
    assert numbers(Wanted(document=DOCUMENTS[0], types=frozenset({"answer"}))) == [5, 15]
    assert numbers(Wanted(document=DOCUMENTS[0], outcome="answered")) == [5, 15]
    assert numbers(Wanted(types=frozenset({"audit_read"}))) == [18]
    since = json.loads(history.events[10][2])["time"]
    assert numbers(Wanted(document=DOCUMENTS[0]), since=since) == [*range(11, 17), 19]
    assert numbers(Wanted(document=DOCUMENTS[0]), until=since) == list(range(1, 6))
    assert numbers(Wanted(document=DOCUMENTS[0]), within(1)) == [*range(1, 6), *range(11, 16), 19]
    assert numbers(Wanted(), within(2)) == [16]
    assert numbers(Wanted(), within(2, hidden=[DOCUMENTS[0]])) == []
    assert numbers(Wanted(document=DOCUMENTS[0]), within(1, hidden=[DOCUMENTS[0]])) == []
    assert numbers(Wanted(document=DOCUMENTS[1]), within(1, hidden=[DOCUMENTS[0]])) == list(range(6, 16))
    index.close()


def test_a_break_glass_is_found_among_all_events(tmp_path: Path) -> None:
    """By the word that its event has, whatever its type."""
    history = told(chat(0))
    history.add(EventType.APPROVAL, None, PEOPLE[0], {"break_glass": True})
    history.add(EventType.APPROVAL, None, PEOPLE[0], {"break_glass": False})
    history.add(EventType.ERASURE, None, PEOPLE[0], {"rule": "break_glass"})
    index = index_of(history, tmp_path)
    assert [event["number"] for event in index.events(Wanted(break_glass=True), Between(0, 9)).entries] == [6, 8]
    assert index.events(Wanted(break_glass=True), Between(0, 9), within(1)).entries == []
    index.close()


def test_what_is_asked_once_more_inherits_also_what_is_shown_after(tmp_path: Path) -> None:
    """The exchange that it asks again may only be recording what it is about to show."""
    history = told(chat(1))
    again, first = str(UUID(int=7)), str(UUID(int=8))
    asked = {"operation": "chat"}
    allowed = {"effect": "allow", "reason": "r", "policy_version": 3}
    history.add(EventType.REQUEST, first, PEOPLE[0], asked)
    history.add(EventType.DECISION, first, PEOPLE[0], allowed)
    history.add(EventType.REQUEST, again, PEOPLE[0], {**asked, "asks_again": first})
    history.add(EventType.DECISION, again, PEOPLE[0], allowed)
    shown = [{**chat(0).passages[0], "access_class": 2}]
    history.add(EventType.RETRIEVAL, first, PEOPLE[0], {"outcome": "found", "passages": shown})
    index = index_of(history, tmp_path)
    found = index.who_saw(What(DOCUMENTS[0]), Between(0, 9)).entries
    assert [(entry.audit_id, entry.how, entry.via) for entry in found] == [
        (first, "direct", None),
        (again, "inherited", first),
    ]
    assert [entry.audit_id for entry in index.touched({2}, Between(0, 9)).entries] == [first, again]
    with closing(sqlite3.connect(tmp_path / "audit-index.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM about WHERE access_class = 2").fetchone()[0] == 2
    index.close()


def test_an_exchange_out_of_reach_is_not_named_by_a_later_one(tmp_path: Path) -> None:
    """Neither among what stood in its prompt, nor in its event."""
    out = Act("chat", 0, [{**chat(1).passages[0], "access_class": 2}], ())
    history = told(out, chat(0), chat(0, earlier=[0, 1]))
    index = index_of(history, tmp_path)
    mine = index.saw(PEOPLE[0], Between(0, 9), within(1)).entries
    assert [entry.earlier for entry in mine] == [(), (history.exchanges[1],)]
    assert index.saw(PEOPLE[0], Between(0, 9)).entries[2].earlier == tuple(history.exchanges[:2])
    generation = index.events(Wanted(types=frozenset({"generation"})), Between(0, 9), within(1)).entries[-1]
    assert generation["history"] == [history.exchanges[1]]
    index.close()
