"""Answers of adapters: whoever asks who saw a document is told of those that had learned it, and by which."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from tests.ledger.audit_index_kit import DOCUMENTS, PEOPLE, Act, History, chat, digest_of, index_of

from usher.backends import audit_index_reads as reads
from usher.backends.audit_index import AuditIndexFile
from usher.core.learned import part_of
from usher.ports.audit_index import Between, Seen, Wanted, What, Within

ALL = Between(0, 500)


def answered(adapter: int, *earlier: int, person: int = 0, now: int | None = None) -> Act:
    return Act("chat", person, [], earlier, adapter=adapter, now=now)


@pytest.fixture(params=[reads.MANY, 0], ids=["from what was shown", "from each entry"])
def told(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuditIndexFile:
    """Two adapters: the first learned version 2 of the first document and the second document as another class, the
    second the third document. Each answers; somebody goes on from the first answer; the last finds it by retrieval."""
    monkeypatch.setattr(reads, "MANY", request.param)
    history = History()
    history.learned([(0, 2, 1), (1, 1, 2)])
    history.learned([(2, 1, 1)])
    for act in (answered(0, now=3), answered(1, person=1), chat(2, earlier=[0], person=1), chat(0)):
        history.asked(act)
    return index_of(history, tmp_path)


def who_saw(index: AuditIndexFile, document: int, within: Within | None = None, **more: int) -> list[Seen]:
    return list(index.who_saw(What(DOCUMENTS[document], **more), ALL, within).entries)


def test_who_saw_tells_by_which_adapter(told: AuditIndexFile) -> None:
    """The answer itself, what went on from it, and what found the document; not the other adapter's."""
    found = who_saw(told, 0)
    first = found[0].audit_id
    assert [(one.how, one.adapter, one.via) for one in found] == [
        ("learned", f"a0@sha256:{digest_of(0)}", None),
        ("inherited", None, first),
        ("direct", None, None),
    ]
    assert {(p.document, p.learned, p.access_class) for p in found[0].passages} == {
        (str(DOCUMENTS[0]), True, 1),
        (str(DOCUMENTS[0]), True, 3),
    }
    assert [one.how for one in who_saw(told, 2)] == ["learned", "direct"]
    assert next(one.adapter for one in who_saw(told, 2)) == f"a1@sha256:{digest_of(1)}"
    told.close()


def test_only_the_version_that_was_learned_was_seen(told: AuditIndexFile) -> None:
    """Another version's passages were shown by retrieval only."""
    assert [one.how for one in who_saw(told, 0, version=2)] == ["learned", "inherited"]
    assert [one.how for one in who_saw(told, 0, version=1)] == ["direct"]
    told.close()


def test_a_part_out_of_reach_tells_nothing(told: AuditIndexFile) -> None:
    """Of its class of then, or hidden because a document of it has left the reach."""
    reach = Within(frozenset({1, 3}))
    assert [one.how for one in who_saw(told, 0, reach)] == ["learned", "inherited", "direct"]
    assert who_saw(told, 1, reach)[0].passages[0].access_class == 3
    assert who_saw(told, 1, Within(frozenset({1}))) == []
    part = str(part_of(digest_of(0), 1))
    assert part in told.who_saw(What(DOCUMENTS[0]), ALL, reach).through
    hidden = Within(frozenset({1, 3}), frozenset({part}))
    assert [one.how for one in who_saw(told, 0, hidden)] == ["direct"]
    told.close()


def test_what_somebody_saw_says_that_it_was_learned(told: AuditIndexFile) -> None:
    """By part: they are told apart from documents."""
    first, last = told.saw(PEOPLE[0], ALL).entries
    parts = {(str(part_of(digest_of(0), 1)), True), (str(part_of(digest_of(0), 2)), True)}
    assert {(p.document, p.learned) for p in first.passages} == parts
    assert [(p.document, p.learned) for p in last.passages] == [(str(DOCUMENTS[0]), False)]
    told.close()


def test_a_report_counts_no_part_as_a_document(told: AuditIndexFile) -> None:
    """What was found, and nothing else."""
    shown = told.figures(1, 1_000, 10, {}).documents
    assert sorted(one.document for one in shown) == [str(DOCUMENTS[0]), str(DOCUMENTS[2])]
    told.close()


def test_events_about_a_document_are_those_of_such_answers_too(told: AuditIndexFile) -> None:
    """All five of each."""
    found = {event["audit_id"] for event in told.events(Wanted(document=DOCUMENTS[0]), ALL).entries}
    own = {one.audit_id for one in who_saw(told, 0) if one.how != "inherited"}
    assert found == own
    assert len(own) == 2
    told.close()


def test_an_exchange_says_what_its_adapter_had_learned(told: AuditIndexFile) -> None:
    """And the next one inherits it."""
    ids = [str(one.audit_id) for one in who_saw(told, 0)]
    first, second, _ = told.exchanges(ids).entries
    assert {one.how for one in first.shown} == {"learned"}
    assert {(one.how, one.via) for one in second.shown} == {("direct", None), ("inherited", first.audit_id)}
    told.close()


def test_told_twice_it_is_learned_once(tmp_path: Path) -> None:
    """A registration that was cut off is made again."""
    history = History()
    for _ in range(2):
        history.learned([(0, 1, 1)])
        history.lineages.pop()
    history.learned([(0, 1, 1)])
    history.asked(answered(0))
    index = index_of(history, tmp_path)
    assert [one.how for one in who_saw(index, 0)] == ["learned"]
    assert UUID(who_saw(index, 0)[0].passages[0].document) == DOCUMENTS[0]
    index.close()
