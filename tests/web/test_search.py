"""`/api/search`: permitted passages, recorded before they are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest
import structlog
from tests.web.chat_kit import QUESTION, FailingLog
from tests.web.world import World, world

from usher.backends.memory import MemoryStore
from usher.ports import StoreUnavailable

STORE = MemoryStore()


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("search"), store=STORE, log=FailingLog) as made:
        yield made


def paths(response: httpx.Response) -> set[str]:
    return {hit["path"] for hit in response.json()["hits"]}


def test_hits_are_passages_of_the_askers_own_scope(usher: World) -> None:
    """Collections, markings and reader lists together decide, for everybody differently."""
    found = {who: paths(usher.search("merger budget holiday letter", who, k=100)) for who in ("alice", "bob", "carol")}
    handbook = {"handbook/holidays.md", "handbook/hotels.md", "handbook/notice.md"}
    assert found["bob"] == handbook
    assert found["alice"] == handbook | {"finance/budget.md", "letters/alice.md"}
    assert found["carol"] == handbook | {"board/merger.md"}


def test_a_hit_says_where_it_stands(usher: World) -> None:
    """Document, path relative to the source, title, chunk, text, score; best first, the best one fitting."""
    body = usher.search(QUESTION, k=2).json()
    assert set(body) == {"policy_version", "audit_id", "hits"}
    best, second = body["hits"]
    assert set(best) >= {"document", "path", "title", "chunk", "text", "score"}
    assert (best["path"], "28 days" in best["text"]) == ("handbook/holidays.md", True)
    assert best["score"] >= second["score"]


def test_get_and_post_find_the_same(usher: World) -> None:
    """For scripts."""
    posted = usher.search("hotel & night", k=2).json()["hits"]
    assert usher.ask("GET", "/api/search", params={"q": "hotel & night", "k": 2}).json()["hits"] == posted


def test_the_same_question_gives_the_same_bytes(usher: World) -> None:
    """Under the same scope and index."""
    first, second = (usher.search(QUESTION).json()["hits"] for _ in range(2))
    assert first == second


def test_a_search_is_recorded_before_it_answers(usher: World) -> None:
    """Request, decision, retrieval with the passages and their scores; no text, no path."""
    body = usher.search(QUESTION, k=1).json()
    request, decision, retrieval = usher.events(body["audit_id"])
    assert (request["operation"], decision["effect"], retrieval["outcome"]) == ("search", "allow", "found")
    (passage,), (hit,) = retrieval["passages"], body["hits"]
    assert (passage["chunk"], passage["score"], passage["rank"]) == (hit["chunk"], hit["score"], 1)
    assert "holiday" not in repr((request, decision, retrieval))


def test_a_denied_search_is_two_leaves(usher: World) -> None:
    """Without `chat.ask` nothing is retrieved."""
    response = usher.search(QUESTION, "erin")
    assert (response.status_code, response.json()["status"]) == (403, 403)
    assert [event["type"] for event in usher.newest()] == ["request", "decision"]
    assert usher.newest()[1]["effect"] == "deny"


def test_an_empty_scope_is_200_without_hits(usher: World) -> None:
    """Whoever may ask but read nothing learns nothing."""
    usher.run(usher.apply_also("p, user:frank, sys:chat, chat.ask, allow, always"))
    usher.run(usher.add("frank"))
    response = usher.search("zanzibar merger", "frank")
    assert (response.status_code, response.json()["hits"]) == (200, [])


def test_fields_of_a_client_widen_nothing(usher: World) -> None:
    """Unknown ones are ignored."""
    wishes: dict[str, Any] = {
        "collection": "board",
        "user": "carol",
        "filter": {},
        "role": "role:board",
        "classes": [1, 2, 3, 4],
    }
    assert paths(usher.search("merger", k=100, **wishes)) == paths(usher.search("merger", k=100))
    query = {"q": "merger", "k": 100, "user": "carol", "collection": "board"}
    assert "board/merger.md" not in paths(usher.ask("GET", "/api/search", params=query))


def test_the_label_of_now_decides_not_the_stores(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that believes a chunk to be in the asker's scope changes nothing: it is dropped, with an alarm."""
    (hit,) = usher.search("merger", "carol", k=1).json()["hits"]
    (open_to_bob, *_) = usher.search("holiday", k=1).json()["hits"]
    secret = STORE._points[UUID(hit["chunk"])]
    admitted = STORE._points[UUID(open_to_bob["chunk"])].access_class
    monkeypatch.setitem(STORE._points, secret.chunk, replace(secret, access_class=admitted))
    with structlog.testing.capture_logs() as logged:
        body = usher.search("zanzibar merger", k=100).json()
    assert "board/merger.md" not in {found["path"] for found in body["hits"]}
    assert usher.events(body["audit_id"])[-1]["leaks"] == [hit["chunk"]]
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["leak"]


def test_a_store_that_does_not_answer_is_a_503(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """For search a problem, for chat OpenAI's error; the chat is recorded as failed."""

    async def gone(*_: object) -> None:
        raise StoreUnavailable("its process is gone")

    monkeypatch.setattr(STORE, "search", gone)
    with structlog.testing.capture_logs():
        searched, chatted = usher.search(QUESTION), usher.chat(QUESTION)
    assert (searched.status_code, searched.headers["content-type"]) == (503, "application/problem+json")
    assert (chatted.status_code, chatted.json()["error"]["code"]) == (503, "unavailable")
    assert (usher.newest()[-1]["type"], usher.newest()[-1]["outcome"]) == ("answer", "failed")


def test_without_its_ledger_nothing_is_answered(usher: World) -> None:
    """503 on search and chat, also in a stream, and `/health/ready` says so; then it all works again."""
    log = usher.services.audit.review._log
    assert isinstance(log, FailingLog)
    before = len(usher.events())
    log.full = True
    with structlog.testing.capture_logs():
        answers = [usher.search(QUESTION), usher.chat(QUESTION), usher.chat(QUESTION, stream=True)]
        answers += [usher.ask("GET", "/api/audit/events", "dave")]
    assert [answer.status_code for answer in answers] == [503] * 4
    assert [answer.headers["retry-after"] for answer in answers] == ["5"] * 4
    assert [answer.json()["error"]["code"] for answer in answers[1:3]] == ["unrecorded"] * 2
    assert "28 days" not in "".join(answer.text for answer in answers)
    ready = usher.ask("GET", "/health/ready", None)
    assert (ready.status_code, "disk is full" in ready.json()["parts"]["ledger"]) == (503, True)
    log.full = False
    assert len(usher.events()) == before
    assert usher.search(QUESTION).status_code == usher.chat(QUESTION).status_code == 200
    assert usher.ask("GET", "/health/ready", None).status_code == 200


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (StoreUnavailable("gone"), "failed"),
        (RuntimeError("a mistake"), "failed"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_a_search_that_fails_has_an_end_in_the_record(
    usher: World, monkeypatch: pytest.MonkeyPatch, error: BaseException, outcome: str
) -> None:
    """Three leaves, the last of which says that it failed and shows no passage."""

    async def search(*_: Any) -> None:
        raise error

    monkeypatch.setattr(STORE, "search", search)

    async def work() -> None:
        grant = await usher.services.authority.admit(usher.keys["bob"])
        assert grant is not None
        with pytest.raises(type(error)):
            await usher.services.retrieve.search(grant, QUESTION)

    usher.run(work())
    events = usher.newest()
    assert [event["type"] for event in events] == ["request", "decision", "retrieval"]
    assert (events[-1]["outcome"], events[-1]["passages"]) == (outcome, [])


def test_a_search_given_up_is_recorded_as_cancelled(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task is cancelled while the store works; the end is recorded all the same."""
    asked = asyncio.Event()

    async def search(*_: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(STORE, "search", search)

    async def work() -> None:
        grant = await usher.services.authority.admit(usher.keys["bob"])
        assert grant is not None
        task = asyncio.create_task(usher.services.retrieve.search(grant, QUESTION))
        await asked.wait()
        task.cancel()
        await asyncio.wait({task})

    usher.run(work())
    assert usher.newest()[-1]["outcome"] == "cancelled"
