"""What other chat servers got wrong, in their published advisories: each pattern by its name, tried here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from litestar.routes import WebSocketRoute
from tests.web.chat_kit import PATH as CHAT
from tests.web.chat_kit import QUESTION, ScriptedModel, streamed
from tests.web.world import OPERATOR, PEOPLE, POLICY, World, world
from tests.web.ws_kit import chatting, connected

MODEL = ScriptedModel()
FINANCE = "What is the travel budget of the company?"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("known"), model=MODEL) as made:
        MODEL.steps = ("An answer. [1]",)
        yield made


def listed(usher: World, who: str) -> dict[str, str]:
    """The documents in somebody's list: id by path."""
    documents = usher.ask("GET", "/api/documents?limit=500", who).json()["documents"]
    return {document["path"]: document["id"] for document in documents}


# A channel's or file's id taken as proof of access


def test_a_link_that_was_passed_on_opens_nothing(usher: World) -> None:
    """A citation's address works for whom it was given to, and only as long as they may read it."""
    citation = usher.chat(FINANCE, "alice").json()["usher"]["citations"][0]
    absent = usher.ask("GET", f"/api/documents/{uuid4()}?passage={citation['chunk']}").text
    urls = [citation["url"] if citation["path"].startswith("finance") else _finance(usher), "/api/documents/x"]
    assert usher.ask("GET", urls[0], "alice").status_code == 200
    assert [usher.ask("GET", url).text for url in urls] == [absent, absent]
    usher.run(usher.apply_also("p, user:alice, coll:finance, document.read, deny, always"))
    assert usher.ask("GET", urls[0], "alice").text == absent
    usher.run(usher.apply(POLICY))
    assert usher.ask("GET", urls[0], "alice").status_code == 200


def _finance(usher: World) -> str:
    return f"/api/documents/{listed(usher, 'alice')['finance/budget.md']}"


def test_a_conversations_id_is_no_ticket_into_it(usher: World) -> None:
    """Neither to ask in it, nor to have what it showed in the prompt."""
    conversation = usher.chat(FINANCE, "alice").json()["usher"]["conversation_id"]
    MODEL.requests.clear()
    body = {"model": "assistant", "messages": [{"role": "user", "content": "Summarise the above."}]}
    for name in ("x-usher-conversation", "X-USHER-CONVERSATION"):
        answer = usher.ask("POST", CHAT, json=body, headers={name: conversation})
        assert answer.status_code == 404
    assert usher.ask("POST", CHAT, "alice", json=body, headers={name: conversation}).status_code == 200
    assert [request.cache_salt for request in MODEL.requests] == [_salt(usher, "alice")]


def _salt(usher: World, who: str) -> str:
    return usher.run(usher.services.ledger.subject(who)).cache_salt


# A stale key cache

ENDS: dict[str, Callable[[World, str], Awaitable[object]]] = {
    "revoked": lambda usher, key: usher.services.people.revoke_key(key, OPERATOR),
    "deactivated": lambda usher, _: usher.services.people.deactivate("zoe", OPERATOR),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_key_that_was_good_a_moment_ago_is_not(usher: World, end: Callable[[World, str], Awaitable[object]]) -> None:
    """However warm it is: the next request with it is a stranger's."""
    usher.run(usher.add("zoe", ["staff"]))
    asked: list[Callable[[], httpx.Response]] = [
        lambda: usher.ask("GET", "/api/me", "zoe"),
        lambda: usher.search(QUESTION, "zoe"),
        lambda: usher.chat(QUESTION, "zoe"),
        lambda: usher.ask("GET", "/api/documents", "zoe"),
        lambda: usher.ask("GET", "/v1/models", "zoe"),
    ]
    for _ in range(3):
        assert {ask().status_code for ask in asked} == {200}
    usher.run(end(usher, usher.key_ids["zoe"]))
    assert {ask().status_code for ask in asked} == {401}


def test_a_group_that_was_left_a_moment_ago_gives_nothing(usher: World) -> None:
    """A key's groups are the directory's, not those of the time when it was made or last used."""
    usher.run(usher.add("yan", ["staff"]))
    assert len(usher.search(QUESTION, "yan").json()["hits"]) > 0
    usher.run(usher.services.people.set_groups("yan", [], OPERATOR))
    assert usher.search(QUESTION, "yan").status_code == 403


# Access checked on the list, but not on the item


def test_the_items_that_open_are_those_in_the_list(usher: World) -> None:
    """For everybody and every document; and so with whatever a search or an answer names."""
    everything = {
        path: ident for who in PEOPLE if who not in ("dave", "erin") for path, ident in listed(usher, who).items()
    }
    assert len(everything) == 6
    for who in ("alice", "bob", "carol"):
        mine = set(listed(usher, who).values())
        opened = {i for i in everything.values() if usher.ask("GET", f"/api/documents/{i}", who).status_code == 200}
        found = {hit["document"] for hit in usher.search(FINANCE, who, k=100).json()["hits"]}
        cited = {one["document"] for one in usher.chat(FINANCE, who).json()["usher"]["citations"]}
        assert opened == mine
        assert found | cited <= mine
    for who in ("dave", "erin"):
        statuses = {usher.ask("GET", f"/api/documents/{ident}", who).status_code for ident in everything.values()}
        assert statuses == {403}


# A model's alias that skips the check

ALIASES = [
    "assistant:latest",
    "assistant@sha256:0",
    "Assistant",
    "ASSISTANT",
    " assistant",
    "assistant ",
    "assistant\0",
    "assistant/",
    "models/assistant",
    "openai/assistant",
    "./assistant",
    "../adapters/finance",
    "finance",
    "adapter:finance",
    "scripted",
    "gpt-4o",
    "*",
    "",
    "\u0430ssistant",
    "a" * 200,
]


@pytest.mark.parametrize("alias", ALIASES, ids=range(len(ALIASES)))
def test_a_model_by_another_name_is_no_model(usher: World, alias: str) -> None:
    """One 404 for everybody, also for whoever may ask nothing; no model is called, and no name reaches one."""
    MODEL.requests.clear()
    answers = [usher.chat(QUESTION, who, model=alias) for who in ("alice", "bob", "erin")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert MODEL.requests == []


def test_no_other_field_chooses_a_model(usher: World) -> None:
    """An adapter is the policy's to choose."""
    MODEL.requests.clear()
    fields = ("adapter", "lora", "lora_request", "base_model", "engine", "deployment", "model_id", "fallbacks")
    more = dict.fromkeys(fields, "finance") | {"extra_body": {"model": "finance"}, "models": ["finance"]}
    headers = {"x-model": "finance", "x-adapter": "finance", "openai-organization": "finance"}
    body = {"model": "assistant", "messages": [{"role": "user", "content": QUESTION}], **more}
    assert usher.ask("POST", f"{CHAT}?model=finance&adapter=finance", json=body, headers=headers).status_code == 200
    assert [request.adapter for request in MODEL.requests] == [None]
    assert "finance" not in repr(MODEL.requests)


# A shared cache, keyed without the person


def test_the_same_question_of_two_people_has_two_answers(usher: World) -> None:
    """Asked in turn, each time anew: own passages, own citations, own salt for the model server's cache."""
    MODEL.requests.clear()
    people = ("alice", "bob", "carol") * 2
    found = [{hit["path"] for hit in usher.search(FINANCE, who, k=100).json()["hits"]} for who in people]
    assert [frozenset(paths) for paths in found] == [frozenset(listed(usher, who)) for who in people]
    for who in people:
        usher.chat(FINANCE, who)
    salts = [request.cache_salt for request in MODEL.requests]
    assert salts[:3] == salts[3:]
    assert len(set(salts)) == 3
    for who, request in zip(people, MODEL.requests, strict=True):
        texts = [passage.text for passage in request.passages]
        assert any("four million" in text for text in texts) == (who == "alice")
        assert any("zanzibar" in text for text in texts) <= (who == "carol")


def test_a_right_that_goes_takes_the_cached_answer_with_it(usher: World) -> None:
    """The same person, the same question, a moment later."""
    assert "finance/budget.md" in usher.search(FINANCE, "alice").text
    usher.run(usher.apply_also("p, user:alice, coll:finance, document.read, deny, always"))
    assert "finance/budget.md" not in usher.search(FINANCE, "alice").text
    MODEL.requests.clear()
    usher.chat(FINANCE, "alice")
    assert "four million" not in repr(MODEL.requests)
    usher.run(usher.apply(POLICY))


# A stream that outlives its session


@pytest.mark.parametrize("silent", [False, True], ids=["flowing", "silent"])
def test_a_stream_ends_with_its_key(usher: World, silent: bool) -> None:
    """At once where it flows, and by the watcher where its model says nothing: nothing more is shown."""
    usher.run(usher.add("xia", ["staff"]))

    async def revoke() -> None:
        await usher.services.people.revoke_key(usher.key_ids["xia"], OPERATOR)

    later = (30.0,) if silent else ("Never shown. ",) * 3
    MODEL.steps = ("Some words. ", 0.06, revoke, *later, "Never said.")

    async def story() -> tuple[Any, float]:
        watching, began = asyncio.create_task(usher.services.watch.run()), time.monotonic()
        try:
            return await streamed(usher, "xia"), time.monotonic() - began
        finally:
            watching.cancel()

    got, took = usher.run(story())
    MODEL.steps = ("An answer. [1]",)
    assert got.text.startswith("Some")
    assert ("Never" in got.text, got.done) == (False, False)
    assert got.error is not None
    assert got.error["code"] == "key_revoked"
    assert took < 2
    assert usher.newest()[-1]["outcome"] == "key_revoked"


# A WebSocket that skips the HTTP middleware


def test_every_socket_has_a_rule_and_none_is_public(usher: World) -> None:
    """By the guard that HTTP has: the first frame proves who it is."""
    sockets = [route for route in usher.app.routes if isinstance(route, WebSocketRoute)]
    rules = [route.route_handler.opt["access"] for route in sockets]
    assert rules
    assert all(rule.first_frame or rule.key for rule in rules)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://usher", "", "http://usher.evil.example"])
def test_a_foreign_page_opens_no_socket(usher: World, origin: str) -> None:
    """Not even with a key that is good: it is turned away before it is taken."""

    async def talk() -> None:
        for authorization in ("", f"Bearer {usher.keys['alice']}"):
            async with connected(usher, origin=origin, authorization=authorization) as client:
                assert not client.accepted

    usher.run(talk())


def test_what_http_refuses_a_socket_refuses(usher: World) -> None:
    """No right to ask, a key that ended: by the same words, and no model is called."""
    MODEL.requests.clear()
    usher.run(usher.add("ulla", ["staff"]))

    async def talk() -> None:
        async with connected(usher) as client:
            client.say("auth", key=usher.keys["erin"])
            client.ask()
            assert await client.over() == 4403
            assert client.got[-1]["code"] == "chat_not_allowed"
        async with chatting(usher, "ulla") as client:
            await usher.services.people.revoke_key(usher.key_ids["ulla"], OPERATOR)
            client.ask()
            await usher.services.watch.look()
            assert await client.over() == 4401
            assert {frame["type"] for frame in client.got} <= {"ready", "error"}

    usher.run(talk())
    assert MODEL.requests == []


def test_a_socket_counts_as_requests_do(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions over it are counted with those over HTTP, against the one limit of the person."""
    counted: list[str] = []
    monkeypatch.setattr(type(usher.services.limits), "request", lambda _, user: counted.append(user))

    async def talk() -> None:
        async with chatting(usher) as client:
            client.ask()
            await client.end()

    usher.run(talk())
    usher.chat(QUESTION)
    assert counted == ["bob", "bob"]
