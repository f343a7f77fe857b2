"""Limited rights: their holders get what anybody would get if nothing had ever been about any other document."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.audit_index_kit import DOCUMENTS, PEOPLE, Act, History, Lineage, digest_of, index_of, redacted, told

from usher.audit.asking import Asking
from usher.backends import audit_index_reach, sql_tables
from usher.backends import audit_index_reads as reads
from usher.backends.audit_index import AuditIndexFile
from usher.backends.sql import Database
from usher.backends.sql_adapter_tables import adapter, adapter_document
from usher.backends.sql_documents import SqlDocuments
from usher.core.reach import Reach
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
    st.sampled_from([None, None, 0, 1]),
    st.sampled_from([None, 2]),
)
LINEAGES = st.lists(
    st.lists(
        st.tuples(st.integers(0, 2), st.just(1), st.sampled_from(CLASSES)), min_size=1, unique_by=lambda one: one[:2]
    ),
    max_size=2,
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
        for table in (sql_tables.document, adapter, adapter_document):
            table.create(connection)
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


def labelled(database: Database, labels: Labels, lineages: Sequence[Lineage] = ()) -> SqlDocuments:
    with database.begin() as connection:
        _register(connection, lineages)
        connection.execute(sa.delete(sql_tables.document))
        for ident, label in zip(DOCUMENTS, labels, strict=True):
            if label is not None:
                place = {"source": "s", "path": str(ident), "label_version": 1, "carried": True, "version": 1}
                pending = {"pending": "label", "pending_class": label[1]} if label[1] is not None else {}
                row = {"id": ident, "access_class": label[0], **place, **pending}
                connection.execute(sa.insert(sql_tables.document).values(**row))
    return SqlDocuments(database, cast(Any, None))  # labels only: nothing is opened


def _register(connection: sa.Connection, lineages: Sequence[Lineage]) -> None:
    for table in (adapter, adapter_document):
        connection.execute(sa.delete(table))
    for number, lineage in enumerate(lineages):
        own = {"name": "a", "manifest": b"", "lineage": b"", "created_at": datetime.now(UTC), "revision": 0}
        connection.execute(sa.insert(adapter).values(id=digest_of(number), **own))
        for document, version, access_class in lineage:
            row = {"document": DOCUMENTS[document], "version": version, "access_class": access_class}
            connection.execute(sa.insert(adapter_document).values(adapter=digest_of(number), **row))


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


def covering(reach: Reach, labels: Labels, history: History) -> Callable[[Mapping[str, Any]], bool]:
    """The definition: the class of then and each class of now are within, of a part those of all its documents."""
    parts = history.parts()

    def is_within(label: tuple[int, int | None] | None) -> bool:
        now = () if label is None else tuple(number for number in label if number is not None)
        return bool(now) and reach.classes.issuperset(now)

    def covers(passage: Mapping[str, Any]) -> bool:
        ident = passage["document"]
        documents = parts.get(ident) or {DOCUMENTS.index(UUID(ident))}
        return passage["access_class"] in reach.classes and all(is_within(labels[one]) for one in documents)

    return covers


LIMITED = (st.lists(ACTS, max_size=12), LINEAGES, REACHES, LABELS, st.sampled_from([1, 2, 500]))


@pytest.mark.usefixtures("road")
@settings(max_examples=8, deadline=None)
@given(*LIMITED)
def test_a_limited_answer_is_the_answer_about_what_is_within_reach(
    database: Database, acts: list[Act], lineages: list[Lineage], reach: Reach, labels: Labels, limit: int
) -> None:
    """Who saw, what somebody saw, what was denied, what touched a class, what a version decided, and the events: equal
    to an unlimited answer from a log in which nothing else ever was, in pages of any size."""
    limited_answers_are_answers_about_what_is_within(database, acts, lineages, reach, labels, limit)


@pytest.mark.crash
@pytest.mark.usefixtures("road")
@settings(max_examples=200, deadline=None)
@given(*LIMITED)
def test_a_limited_answer_is_so_in_very_many_histories(
    database: Database, acts: list[Act], lineages: list[Lineage], reach: Reach, labels: Labels, limit: int
) -> None:
    """The same, at length."""
    limited_answers_are_answers_about_what_is_within(database, acts, lineages, reach, labels, limit)


def limited_answers_are_answers_about_what_is_within(
    database: Database, acts: list[Act], lineages: list[Lineage], reach: Reach, labels: Labels, limit: int
) -> None:
    history = History()
    for lineage in lineages:
        history.learned(lineage)
    for act in acts:
        history.asked(act)
    covers = covering(reach, labels, history)
    rest, about, exchanges = redacted(history, covers, reach.everything)
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        index, clean = index_of(history, Path(one)), index_of(rest, Path(two))
        asking = Asking(index, cast(Any, None), cast(Any, None), labelled(database, labels, lineages))
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


def test_documents_that_have_left_a_reach_are_found_many_at_once(database: Database, tmp_path: Path) -> None:
    """Not page by page as long as they are: what is read anew is few times, however many they are."""
    shown = [{"document": str(UUID(int=900 + n)), "version": 1, "access_class": 1} for n in range(400)]
    history = told(*(Act("view", 0, [{**one, "in_prompt": False}], []) for one in shown))
    index, reads_made = index_of(history, tmp_path), [0, 0]
    asking = Asking(index, cast(Any, None), cast(Any, None), labelled(database, [None] * 3))
    ways: list[Callable[[Within | None], Found[Any]]] = [
        lambda within: index.saw(PEOPLE[0], Between(0, 1), within),
        lambda within: index.events(Wanted(), Between(0, 1), within),
    ]
    for number, way in enumerate(ways):

        def read(within: Within | None, way: Any = way, number: int = number) -> Any:
            reads_made[number] += 1
            return way(within)

        assert asyncio.run(asking.found(Reach(False, frozenset({1})), read)).entries == []
    assert max(reads_made) < 10
    index.close()


def test_a_document_that_has_left_a_reach_has_no_next_page(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many saw it, and behind however many who did not."""
    monkeypatch.setattr(reads, "MANY", 0)
    monkeypatch.setattr(reads, "SCAN", 3)
    one, other = ({"document": str(ident), "version": 1, "access_class": 1} for ident in DOCUMENTS[:2])
    index = index_of(told(*(Act("view", 0, [one | {"in_prompt": False}], []) for one in (*[other] * 5, one))), tmp_path)
    asking = Asking(index, cast(Any, None), cast(Any, None), labelled(database, [(2, None), (1, None), None]))
    reach, what = Reach(False, frozenset({1})), What(DOCUMENTS[0])
    found = asyncio.run(asking.found(reach, lambda within: index.who_saw(what, Between(0, 50), within)))
    assert (found.entries, found.next) == ([], None)
    index.close()


@pytest.mark.usefixtures("road")
def test_a_part_that_has_left_a_reach_has_no_next_page(database: Database, tmp_path: Path) -> None:
    """One document of it was labelled otherwise: who asks for another is not told that there was an answer."""
    history, lineage = History(), [(0, 1, 1), (1, 1, 1)]
    history.learned(lineage)
    for by in (*[None] * 5, 0):
        history.asked(Act("chat", 0, [], [], adapter=by))
    index, labels = index_of(history, tmp_path), labelled(database, [(1, None), (2, None), None], [lineage])
    asking = Asking(index, cast(Any, None), cast(Any, None), labels)
    reach, what = Reach(False, frozenset({1})), What(DOCUMENTS[0])
    found = asyncio.run(asking.found(reach, lambda within: index.who_saw(what, Between(0, 50), within)))
    assert (found.entries, found.next) == ([], None)
    index.close()


def test_what_only_followed_something_out_of_reach_showed_nothing(database: Database, tmp_path: Path) -> None:
    """Whoever may know of what is about no document is not told that there was something to inherit."""
    hidden = {"document": str(DOCUMENTS[0]), "version": 1, "chunk": "c", "access_class": 1, "rank": 1}
    acts = [Act("chat", 0, [{**hidden, "in_prompt": False}], []), *[Act("chat", 0, [], [n]) for n in (0, 1)]]
    index = index_of(told(*acts), tmp_path)
    asking = Asking(index, cast(Any, None), cast(Any, None), labelled(database, [None] * 3))
    for limit in (1, 50):
        saw = pages(asking, Reach(True, frozenset()), lambda at, within: index.saw(PEOPLE[0], at, within), limit)
        assert [(entry.audit_id, len(entry.earlier)) for entry in saw] == [(str(UUID(int=1010)), 1)]
    index.close()


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
