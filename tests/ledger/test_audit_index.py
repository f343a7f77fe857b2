"""The reviewers' index: equal to a scan over all events, and safe to lose."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.audit_index_kit import DOCUMENTS, PEOPLE, Act, History, Lineage, chat, index_of, scanned, told

from usher.backends import audit_index
from usher.backends import audit_index_reads as reads
from usher.backends.audit_index import AuditIndexFile
from usher.ledger.record import EventType
from usher.ports.audit_index import Between, IndexUnreadable, Seen, What

ALL = Between(0, 500)

PASSAGES = st.builds(
    lambda document, version, part, in_prompt: {
        "document": str(DOCUMENTS[document]),
        "version": version,
        "chunk": str(UUID(int=document * 100 + version * 10 + part)),
        "access_class": 1,
        "in_prompt": in_prompt,
    },
    st.integers(0, 2),
    st.integers(1, 2),
    st.integers(0, 1),
    st.booleans(),
)
ACTS = st.builds(
    Act,
    st.sampled_from(["chat", "chat", "search", "view"]),
    st.integers(0, 2),
    st.lists(PASSAGES, max_size=3).map(lambda found: [{**one, "rank": n} for n, one in enumerate(found, 1)]),
    st.lists(st.integers(0, 20), max_size=2),
    st.sampled_from([False, False, False, True]),
    st.sampled_from(["answered", "cancelled", "access_changed"]),
    st.sampled_from([None, None, 0, 1]),
)
LINEAGES = st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2), st.just(1)), min_size=1), max_size=2)


def paged(index: AuditIndexFile, wanted: What, limit: int = 500) -> list[Seen]:
    found: list[Seen] = []
    after: int | None = 0
    while after is not None:
        page = index.who_saw(wanted, Between(after, limit))
        found, after = [*found, *page.entries], page.next
    return found


@pytest.fixture(params=[reads.MANY, 0], ids=["from what was shown", "from each entry"], scope="module")
def road(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways to find who saw something; the second in small stretches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reads, "MANY", request.param)
        patch.setattr(reads, "SCAN", 3)
        yield


@pytest.mark.usefixtures("road")
@settings(max_examples=50, deadline=None)
@given(
    st.lists(ACTS, max_size=14),
    LINEAGES,
    st.sampled_from(DOCUMENTS),
    st.sampled_from([None, 1]),
    st.sampled_from([None, 0]),
)
def test_who_saw_is_what_a_scan_of_all_events_finds(
    acts: list[Act], lineages: list[Lineage], document: UUID, version: int | None, part: int | None
) -> None:
    """Questions, searches, views, conversations and denials, also of adapters that learned it: by document, version or
    passage, in pages of any size."""
    history = History()
    for lineage in lineages:
        history.learned(lineage)
    for act in acts:
        history.asked(act)
    chunk = None if part is None else UUID(int=DOCUMENTS.index(document) * 100 + 10 + part)
    wanted = What(document, version, chunk)
    with TemporaryDirectory() as folder:
        index = index_of(history, Path(folder))
        found = paged(index, wanted)
        assert {entry.number: entry.how for entry in found} == scanned(history, wanted)
        assert found == sorted(found, key=lambda entry: entry.number) == paged(index, wanted, 2)
        inherited = [entry for entry in found if entry.how == "inherited"]
        exposing = {entry.audit_id for entry in found if entry.how != "retrieved"}
        assert all(entry.via in exposing and entry.via in entry.earlier for entry in inherited)
        denials = index.denied(ALL).entries
        refused = {e["audit_id"] for e in history.bodies if e.get("effect") == "deny"}
        broken = {e["audit_id"] for e in history.bodies if e.get("outcome") == "access_changed"}
        assert {denial.audit_id for denial in denials} == refused | broken
        index.close()


def test_what_somebody_saw_is_theirs_alone_between_two_times(tmp_path: Path) -> None:
    """From an instant on, up to another; a citation and its prompt are told apart."""
    history = told(chat(0, 1), chat(2, person=1), chat(1, earlier=[0]))
    index = index_of(history, tmp_path)
    first, second = index.saw(PEOPLE[0], ALL).entries
    assert [(p.document, p.in_prompt, p.cited) for p in first.passages] == [
        (str(DOCUMENTS[0]), True, True),
        (str(DOCUMENTS[1]), True, False),
    ]
    assert second.earlier == (first.audit_id,)
    assert index.saw(PEOPLE[0], Between(0, 500, since=second.time)).entries == [second]
    assert index.saw(PEOPLE[0], Between(0, 500, until=second.time)).entries == [first]
    assert index.saw(None, ALL).entries == []
    index.close()


@pytest.mark.usefixtures("road")
def test_an_inheritance_goes_on_from_one_to_the_next(tmp_path: Path) -> None:
    """However many exchanges are between; each names the one that it has it from."""
    index = index_of(told(chat(0), *(chat(1, earlier=[n]) for n in range(4))), tmp_path)
    found = paged(index, What(DOCUMENTS[0]))
    assert [entry.how for entry in found] == ["direct"] + ["inherited"] * 4
    assert [entry.via for entry in found] == [None, *(entry.audit_id for entry in found[:-1])]
    index.close()


@pytest.mark.usefixtures("road")
def test_who_saw_between_two_times_is_a_part_of_the_whole(tmp_path: Path) -> None:
    """From an instant on, up to another, on both roads; what comes before an instant still hands on what it showed."""
    index = index_of(
        told(*(chat(0, earlier=[]) for _ in range(3)), *(chat(1, earlier=[n]) for n in range(3))), tmp_path
    )
    whole = paged(index, What(DOCUMENTS[0]))
    assert [entry.how for entry in whole] == ["direct"] * 3 + ["inherited"] * 3
    since, until = whole[3].time, whole[5].time
    found: list[Seen] = []
    after: int | None = 0
    while after is not None:
        page = index.who_saw(What(DOCUMENTS[0]), Between(after, 1, since, until))
        found, after = [*found, *page.entries], page.next
    assert found == whole[3:5]
    index.close()


def test_the_index_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Each step takes in what has come since, and says how far it is."""
    history = told(chat(0), chat(0), chat(0))
    index = AuditIndexFile(tmp_path / "audit-index.sqlite", history.stored(tmp_path, 5))
    assert index.who_saw(What(DOCUMENTS[0]), ALL).indexed == 0
    assert index.step() is False
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as ledger, ledger:
        ledger.executemany("INSERT INTO events (number, leaf, event) VALUES (?, ?, ?)", history.events[5:])
        ledger.execute("UPDATE tree SET size = 15")
    found = index.who_saw(What(DOCUMENTS[0]), ALL)
    assert (found.indexed, found.size, len(found.entries)) == (5, 15, 1)
    index.step()
    found = index.who_saw(What(DOCUMENTS[0]), ALL)
    assert (found.indexed, found.size, len(found.entries)) == (15, 15, 3)
    index.close()


@pytest.mark.parametrize("harm", ["deleted", "garbage", "another ledger", "another event", "too long", "other format"])
def test_an_index_that_does_not_continue_the_ledger_is_built_again(tmp_path: Path, harm: str) -> None:
    """Whatever is in the file, or if it is gone, also while it is open."""
    history = told(chat(0), chat(1))
    index = index_of(history, tmp_path)
    path, other = tmp_path / "audit-index.sqlite", told(chat(2), chat(2, person=1), chat(0))
    if harm == "deleted":
        path.unlink()
    elif harm == "garbage":
        index.close()
        path.write_bytes(b"no database " * 1000)
    elif harm == "other format":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        index.close()
    elif harm == "another ledger":
        history.origin = "usher/other"
        history.stored(tmp_path)
    else:
        history = other if harm == "another event" else told(chat(0))
        history.stored(tmp_path)
    while index.step():
        pass
    found = index.who_saw(What(DOCUMENTS[0]), ALL)
    assert found.indexed == found.size == len(history.events)
    assert {entry.number: entry.how for entry in found.entries} == scanned(history, What(DOCUMENTS[0]))
    index.close()


def test_the_follower_never_makes_the_writer_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a step the ledger takes a commit at once, and cannot be written through the follower's own."""
    history = told(chat(0))
    path = history.stored(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    index = AuditIndexFile(tmp_path / "audit-index.sqlite", path)
    real = audit_index._next
    committed: list[int] = []

    def meanwhile(ledger: Any, indexed: Any) -> Any:
        ledger._ledger.execute("BEGIN")
        found = real(ledger, indexed)
        with closing(sqlite3.connect(path, timeout=0)) as writer, writer:
            writer.execute("UPDATE tree SET size = 99")
            committed.append(99)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            ledger._ledger.execute("DELETE FROM events")
        return found

    monkeypatch.setattr(audit_index, "_next", meanwhile)
    index.step()
    assert committed == [99]
    index.close()


def test_an_event_that_is_not_understood_stops_the_index_and_not_silently(tmp_path: Path) -> None:
    """What comes after it is not in an answer that claims to go further."""
    history = told(chat(0))
    history.add(EventType.VIEW, None, PEOPLE[0], {"documents": [{"name": "x"}]})
    index = AuditIndexFile(tmp_path / "audit-index.sqlite", history.stored(tmp_path))
    for _ in range(2):
        with pytest.raises(IndexUnreadable, match="not understood"):
            index.step()
    assert index.who_saw(What(DOCUMENTS[0]), ALL).indexed == 0
    index.close()


def test_a_disk_at_its_reserve_is_left_to_the_ledger(tmp_path: Path) -> None:
    """The index does not grow into what is kept for refusals."""
    index = AuditIndexFile(tmp_path / "audit-index.sqlite", told(chat(0)).stored(tmp_path), reserve=2**62)
    with pytest.raises(IndexUnreadable, match="reserve"):
        index.step()
    index.close()
