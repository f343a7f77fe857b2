"""Limited rights: their holders get what anybody would get if nothing had ever been about any other document."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.audit_index_kit import DOCUMENTS, PEOPLE, Act, History, chat, index_of, redacted, told

from usher.audit.asking import Asking
from usher.backends import audit_index_reach, sql_tables
from usher.backends import audit_index_reads as reads
from usher.backends.audit_index import AuditIndexFile
from usher.backends.sql import Database
from usher.backends.sql_documents import SqlDocuments
from usher.core.reach import Reach
from usher.ledger.record import EventType
from usher.ports.audit_index import Between, Found, Wanted, What, Within

T = TypeVar("T")
Labels = Sequence[tuple[int, int | None] | None]
CLASSES = (1, 2, 3)

PASSAGES = st.builds(
    lambda document, part, access_class, in_prompt: {
        "document": str(DOCUMENTS[document]),
        "version": 1,
        "chunk": str(UUID(int=document * 100 + part)),
        "access_class": access_class,
        "in_prompt": in_prompt,
    },
    st.integers(0, 2),
    st.integers(0, 1),
    st.sampled_from(CLASSES),
    st.sampled_from([True, True, False]),
)
ACTS = st.builds(
    Act,
    st.sampled_from(["chat", "chat", "search", "view"]),
    st.integers(0, 1),
    st.lists(PASSAGES, max_size=3).map(lambda found: [{**one, "rank": n} for n, one in enumerate(found, 1)]),
    st.lists(st.integers(0, 20), max_size=2),
    st.sampled_from([False, False, False, True]),
    st.sampled_from(["answered", "cancelled", "access_changed"]),
)
REACHES = st.builds(Reach, st.booleans(), st.frozensets(st.sampled_from(CLASSES), max_size=2))
LABELS = st.lists(
    st.one_of(st.none(), st.tuples(st.sampled_from(CLASSES), st.one_of(st.none(), st.sampled_from(CLASSES)))),
    min_size=3,
    max_size=3,
)
"""For each document its class of now, and that of a change that is pending; None: it is not known any more."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path_factory.mktemp('labels') / 'usher.sqlite'}")
    with made.begin() as connection:
        sql_tables.document.create(connection)
    yield made
    made.close()


@pytest.fixture(params=[2_000, 0], ids=["looked up", "in turn"], scope="module")
def road(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways to find entries, and both ways to find who saw something, in small stretches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_index_reach, "MANY", request.param)
        patch.setattr(reads, "MANY", request.param)
        patch.setattr(reads, "SCAN", 3)
        patch.setattr(audit_index_reach, "AT_ONCE", 2)
        yield


def labelled(database: Database, labels: Labels) -> SqlDocuments:
    with database.begin() as connection:
        connection.execute(sa.delete(sql_tables.document))
        for ident, label in zip(DOCUMENTS, labels, strict=True):
            if label is not None:
                place = {"source": "s", "path": str(ident), "label_version": 1, "carried": True, "version": 1}
                pending = {"pending": "label", "pending_class": label[1]} if label[1] is not None else {}
                row = {"id": ident, "access_class": label[0], **place, **pending}
                connection.execute(sa.insert(sql_tables.document).values(**row))
    return SqlDocuments(database, cast(Any, None))  # labels only: nothing is opened


def pages(asking: Asking, reach: Reach, read: Callable[[Between, Within | None], Found[T]], limit: int) -> list[T]:
    """All pages of what somebody with this reach gets."""

    async def whole() -> list[T]:
        found: list[T] = []
        after: int | None = 0
        while after is not None:
            page = await asking.found(reach, lambda within, after=after: read(Between(after, limit), within))  # type: ignore[misc]  # the default is its type
            assert len(page.entries) <= limit
            found, after = [*found, *page.entries], page.next
        return found

    return asyncio.run(whole())


def covering(reach: Reach, labels: Labels) -> Callable[[Mapping[str, Any]], bool]:
    """The definition: the class of then and each class of now are within."""

    def covers(passage: Mapping[str, Any]) -> bool:
        label = labels[DOCUMENTS.index(UUID(passage["document"]))]
        now = () if label is None else tuple(number for number in label if number is not None)
        return bool(now) and all(number in reach.classes for number in (passage["access_class"], *now))

    return covers


LIMITED = (st.lists(ACTS, max_size=12), REACHES, LABELS, st.sampled_from([1, 2, 500]))


@pytest.mark.usefixtures("road")
@settings(max_examples=8, deadline=None)
@given(*LIMITED)
def test_a_limited_answer_is_the_answer_about_what_is_within_reach(
    database: Database, acts: list[Act], reach: Reach, labels: Labels, limit: int
) -> None:
    """Who saw, what somebody saw, what was denied, what touched a class, what a version decided, and the events: equal
    to an unlimited answer from a log in which nothing else ever was, in pages of any size."""
    limited_answers_are_answers_about_what_is_within(database, acts, reach, labels, limit)


@pytest.mark.crash
@pytest.mark.usefixtures("road")
@settings(max_examples=200, deadline=None)
@given(*LIMITED)
def test_a_limited_answer_is_so_in_very_many_histories(
    database: Database, acts: list[Act], reach: Reach, labels: Labels, limit: int
) -> None:
    """The same, at length."""
    limited_answers_are_answers_about_what_is_within(database, acts, reach, labels, limit)


def limited_answers_are_answers_about_what_is_within(
    database: Database, acts: list[Act], reach: Reach, labels: Labels, limit: int
) -> None:
    history = told(*acts)
    rest, about, exchanges = redacted(history, covering(reach, labels), reach.everything)
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        index, clean = index_of(history, Path(one)), index_of(rest, Path(two))
        asking = Asking(index, cast(Any, None), cast(Any, None), labelled(database, labels))
        everything = Between(0, 500)
        for document in DOCUMENTS:
            what = What(document)
            found = pages(asking, reach, lambda at, within, what=what: index.who_saw(what, at, within), limit)
            assert found == everything_of(clean, what)
        questions: list[Callable[[AuditIndexFile, Between, Within | None], Found[Any]]] = [
            *(lambda of, at, within, person=person: of.saw(person, at, within) for person in PEOPLE),
            lambda of, at, within: of.decided_under(3, at, within),
            lambda of, at, within: of.denied(at, within),
        ]
        for ask in questions:
            found = pages(asking, reach, lambda at, within, ask=ask: ask(index, at, within), limit)
            expected = [entry for entry in ask(clean, everything, None).entries if _node(rest, entry) in about]
            assert found == expected
        marked = pages(asking, reach, lambda at, within: index.touched({1, 2}, at, within), limit)
        covers = covering(reach, labels)
        _, touching, _ = redacted(history, lambda passage: covers(passage) and passage["access_class"] in (1, 2))
        assert marked == [entry for entry in clean.touched(CLASSES, everything).entries if entry.number in touching]
        events = pages(asking, reach, lambda at, within: index.events(Wanted(), at, within), limit)
        visible = [body for body in rest.bodies if _begins(rest, body) in about]
        assert [event["number"] for event in events] == [body["number"] for body in visible]
        for event, body in zip(events, visible, strict=True):
            assert event.get("passages") == body.get("passages")
            assert event.get("documents") == body.get("documents")
            assert event.get("history") == body.get("history")
            assert set(event.get("exchanges", ())) <= exchanges
            assert set(event.get("cited", ())) <= {p["rank"] for p in _passages(rest, body)}
        index.close()
        clean.close()


def everything_of(index: AuditIndexFile, what: What) -> list[Any]:
    found: list[Any] = []
    after: int | None = 0
    while after is not None:
        page = index.who_saw(what, Between(after, 500))
        found, after = [*found, *page.entries], page.next
    return found


def _begins(history: History, body: Mapping[str, Any]) -> int:
    if body["audit_id"] is None:
        return int(body["number"])
    return next(int(one["number"]) for one in history.bodies if one["audit_id"] == body["audit_id"])


def _node(history: History, entry: Any) -> int:
    return _begins(history, history.bodies[entry.number - 1])


def _passages(history: History, body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    same = (one for one in history.bodies if one["audit_id"] == body["audit_id"])
    return [passage for one in same for passage in one.get("passages", ())]


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
