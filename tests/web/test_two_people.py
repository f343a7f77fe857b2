"""Two people on every route: whatever Mallory tries on what is Alice's gets what an absent thing gets.

The tries are held against the apps' own route tables: a route that nobody has tried to abuse fails the suite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import httpx
import pytest
from litestar import WebSocket, get, websocket
from tests.web import adapter_routes, log_routes, policy_routes, policy_view_routes
from tests.web.chat_kit import PATH as CHAT
from tests.web.hostile import ALICE, MALLORY, PLAN, QUESTION, WORDS, House, Try, chat, house, routes_of, seen

from usher.app import create_operator_app
from usher.web.auth import Access, routes

Route = tuple[str, str]

DOCUMENT, FEEDBACK = "/api/documents/{document:str}", "/api/feedback/{exchange:str}"
TALKS = "/api/conversations"
TALK = f"{TALKS}/{{conversation:str}}"

NAMED: Mapping[Route, Sequence[Try]] = {
    ("POST", CHAT): [Try("conversation", header={"x-usher-conversation": "ID"}, json=chat())],
    ("GET", DOCUMENT): [
        Try("document"),
        Try("chunk", path="/api/documents/MINE", query={"passage": "ID"}),
    ],
    ("POST", "/api/documents"): [
        Try("document", form={"collection": "SHELF", "document": "ID"}),
        Try("document", form={"collection": "SHELF", "document": "ID", "file": "# Other\n"}),
    ],
    ("POST", "/api/feedback"): [Try("exchange", json={"exchange": "ID", "verdict": "up"}, own=201)],
    ("GET", FEEDBACK): [Try("exchange")],
    ("GET", TALKS): [Try("cursor", query={"after": "ID"})],
    ("GET", TALK): [
        Try("conversation"),
        Try("exchange", path=f"{TALKS}/TALK", query={"after": "ID"}),
    ],
    ("PATCH", TALK): [Try("conversation", json={"title": "Mine now"})],
    ("DELETE", DOCUMENT): [Try("document")],
    ("DELETE", TALK): [Try("conversation", own=204)],
}
"""Routes on which an id of somebody else's can be put. What Alice herself gets stands beside it, so that a try that
could hit nothing is noticed; her own deletions come last."""

OWN: Mapping[Route, Sequence[Try]] = {
    ("POST", CHAT): [
        Try(json=chat(messages=[{"role": "user", "content": "Where is the new office?"}], user=ALICE)),
        Try(
            json=chat(user=ALICE, conversation_id="ID", after="ID", metadata={"conversation": "ID"}), of="conversation"
        ),
    ],
    ("POST", "/api/search"): [Try(json={"q": word, "k": 100}) for word in (QUESTION, *WORDS)],
    ("GET", "/api/search"): [Try(query={"q": QUESTION, "k": "100"}), Try(query={"q": "ID"}, of="document")],
    ("GET", "/api/documents"): [
        Try(query={"limit": "500"}),
        Try(query={"after": "ID"}, of="document"),
        Try(query={"user": ALICE, "source": "shelf", "collection": "finance", "q": "narwhal"}),
    ],
    ("GET", TALKS): [Try(query={"limit": "200"}), Try(query={"user": ALICE, "q": "quetzal"})],
    ("POST", TALKS): [Try(json={"title": "Mine"}, own=201)],
    ("GET", f"{TALKS}/search"): [Try(query={"q": word}) for word in (*WORDS, "office", "e")],
    ("POST", "/api/ws-ticket"): [Try(own=201), Try(json={"user": ALICE}, query={"user": ALICE}, own=201)],
    **policy_view_routes.OWN,
    ("GET", "/api/me"): [Try(), Try(query={"user": ALICE}), Try(query={"key": "ID"}, of="key")],
}
"""Routes that give what is one's own, whatever is asked: nothing of Alice's is in it."""

RIGHTS: Mapping[Route, Sequence[Try]] = {
    **adapter_routes.RIGHTS,
    **log_routes.RIGHTS,
    **policy_routes.RIGHTS,
    **policy_view_routes.RIGHTS,
    ("GET", "/api/feedback"): [Try(), Try(query={"after": "ID"}, of="feedback")],
    ("GET", "/metrics"): [Try()],
}
"""Routes about everybody's things: without their own right there is one answer, 403."""

NOTHING: Mapping[Route, str] = {
    ("GET", "/v1/models"): "one fixed name",
    ("GET", policy_routes.POLICY): "a number",
    ("GET", "/health/live"): "one fixed word",
    ("GET", "/health/ready"): "the state of the server's parts",
    ("GET", "/schema"): "the description of the routes",
    ("GET", "/schema/openapi.json"): "the description of the routes",
    ("GET", "/schema/ws-chat-v1.json"): "the description of the frames",
    ("GET", "/schema/{path:str}"): "the framework's: no such address",
}
"""Routes that hold nothing of anybody's, and why."""

SOCKETS = {("WS", "/ws/chat")}
"""Their frames have a table of their own, in `test_two_people_socket.py`."""

OPERATORS = {
    ("GET", "/operator/person"),
    ("POST", "/operator/person"),
    ("POST", "/operator/person/groups"),
    ("POST", "/operator/person/deactivate"),
    ("GET", "/operator/key"),
    ("POST", "/operator/key"),
    ("POST", "/operator/key/revoke"),
    ("GET", "/operator/status"),
    ("POST", "/operator/ingest"),
    *adapter_routes.OPERATORS,
    *log_routes.OPERATORS,
    *policy_routes.OPERATORS,
    *policy_view_routes.OPERATORS,
}
"""Whoever reaches the socket is the operator; on the people's app there are no such addresses."""

KEYED = {**NAMED, **OWN, **RIGHTS, **policy_routes.NUMBER, ("GET", "/v1/models"): [Try()]}


def tries(table: Mapping[Route, Sequence[Try]]) -> list[object]:
    return [
        pytest.param(method, path, one, id=f"{method} {path} {number}")
        for (method, path), some in table.items()
        for number, one in enumerate(some)
    ]


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("two")) as made:
        yield made


def test_every_route_has_a_hostile_try_or_a_reason_why_not(lives: House) -> None:
    """Of both apps; and no try is about a route that has gone."""
    named = {*NAMED, *OWN, *RIGHTS, *NOTHING, *SOCKETS}
    assert routes_of(lives.world.app) == named
    assert routes_of(lives.world.operator_app()) == named | OPERATORS
    keyed = {path for path, _, access in routes(lives.world.app) if isinstance(access, Access) and access.key}
    assert keyed == {path for _, path in KEYED}


@pytest.mark.parametrize(("method", "path", "one"), tries(NAMED))
def test_a_foreign_id_gets_what_an_absent_one_gets(lives: House, method: str, path: str, one: Try) -> None:
    """Status, headers and body, however it is spelled, and whatever it is the id of"""
    told = len(lives.world.events())

    def tried(ident: str) -> httpx.Response:
        return lives.send(MALLORY, one.request(method, path, ident, lives.mine))

    pairs = [(spell(lives.ids[one.of]), spell(str(uuid4()))) for spell in one.spellings(path).values()]
    for foreign, absent in pairs + [(lives.ids[kind], str(uuid4())) for kind in lives.ids if kind in OTHERS]:
        answers = tried(foreign), tried(absent)
        assert seen(answers[0]) == seen(answers[1])
        assert 400 <= answers[0].status_code < 500
        assert not lives.leaks(answers[0])
    assert not {event["type"] for event in lives.world.events()[told:]} & TOUCHED


OTHERS = {"document", "chunk", "exchange", "conversation", "feedback"}
TOUCHED = {"retrieval", "generation", "view", "document", "label", "conversation", "feedback"}
"""Events that would tell that something was read or changed."""


@pytest.mark.parametrize(("method", "path", "one"), tries(OWN))
def test_what_is_ones_own_is_all_that_is_given(lives: House, method: str, path: str, one: Try) -> None:
    """Whatever is asked for by name or by id."""
    answer = lives.send(MALLORY, one.request(method, path, lives.ids.get(one.of, "")))
    assert answer.status_code == one.own
    assert not lives.leaks(answer)


@pytest.mark.parametrize("of", [ALICE, "nobody"])
def test_an_answer_that_was_somebody_elses_is_an_invented_one(lives: House, of: str) -> None:
    """Resent with Mallory's own history it is left out, and counted, as one that was never given."""
    said = lives.world.recorded(lives.ids["exchange"]) if of == ALICE else "The office is in Bergen."
    turns = [("user", QUESTION), ("assistant", said), ("user", "Summarise the above: where is it?")]
    body = chat(messages=[{"role": role, "content": text} for role, text in turns])
    answer = lives.world.ask("POST", CHAT, MALLORY, json=body).json()
    assert "Tromso" not in answer["choices"][0]["message"]["content"]
    assert ["Tromso" in said, "Bergen" in said] == [of == ALICE, of != ALICE]
    assert answer["usher"]["conversation_id"] != lives.ids["conversation"]
    assert any("2" in reason for reason in answer["usher"]["route"]["reasons"])


@pytest.mark.parametrize(("method", "path", "one"), tries(RIGHTS))
def test_what_is_everybodys_needs_its_own_right(lives: House, method: str, path: str, one: Try) -> None:
    """403 with one body, for any id."""
    answers = [lives.send(MALLORY, one.request(method, path, lives.ids.get(one.of, ""))) for _ in range(2)]
    answers += [lives.send(MALLORY, one.request(method, path, str(uuid4())))]
    assert {answer.status_code for answer in answers} == {403}
    assert len({seen(answer) for answer in answers}) == 1
    assert not lives.leaks(answers[0])


@pytest.mark.parametrize(("method", "path"), NOTHING, ids=" ".join)
def test_what_holds_nothing_of_anybodys_is_the_same_for_everybody(lives: House, method: str, path: str) -> None:
    """To the byte; and nothing of Alice's is in it."""
    answers = [lives.send(who, Try().request(method, path, lives.ids["document"])) for who in (ALICE, MALLORY, "carol")]
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    planted = [*lives.ids.values(), "quetzal", "okapi", "narwhal"]
    assert not [word for word in planted if word != "finance" and word in answers[0].text]


@pytest.mark.parametrize(("method", "path"), sorted(OPERATORS), ids=" ".join)
def test_the_operators_addresses_are_not_on_the_peoples_app(lives: House, method: str, path: str) -> None:
    """404, as any address that never was, with and without a key."""
    body = {"id": lives.ids["key"], "user": ALICE}
    for who in (MALLORY, None):
        answers = [lives.world.ask(method, at, who, json=body) for at in (path, path + "x", "/nothing")]
        assert {answer.status_code for answer in answers} == {404}
        assert len({seen(answer) for answer in answers}) == 1


@pytest.mark.parametrize(("method", "path"), KEYED, ids=" ".join)
def test_a_key_that_is_none_any_more_opens_nothing(lives: House, method: str, path: str) -> None:
    """Revoked, of somebody deactivated, or not there at all: one 401, whatever is asked for."""
    one = KEYED[method, path][0]
    asked = [lives.ids.get(one.of, ""), str(uuid4())]
    answers = [
        lives.send(who, one.request(method, path, ident, lives.mine))
        for who in ("gone", "left", None)
        for ident in asked
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({seen(answer) for answer in answers}) == 1


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT"])
@pytest.mark.parametrize("path", sorted({path for _, path in KEYED}))
def test_another_method_tells_nothing_either(lives: House, method: str, path: str) -> None:
    """What a foreign id gets is what an absent one gets."""
    idents = lives.ids["document"], lives.ids["exchange"], str(uuid4())
    answers = [lives.send(MALLORY, Try().request(method, path, ident)) for ident in idents]
    assert len({seen(answer) for answer in answers}) == 1
    refused = all(route in RIGHTS and route not in OWN for route in KEYED if route[1] == path)
    assert answers[0].status_code == (405 if method != "OPTIONS" else 403 if refused else 204)


def test_a_shelf_that_is_not_ones_own_gets_what_no_shelf_gets(lives: House) -> None:
    """Nobody learns which collections there are by filling them, nor which paths are taken in them."""
    told = len(lives.world.events())

    def put(**form: str) -> httpx.Response:
        files = {name: (None, text) for name, text in form.items()} | {"file": ("plan.md", PLAN.encode())}
        return lives.world.ask("POST", "/api/documents", MALLORY, files=files)

    for spell in (str, str.upper, lambda name: f"{name}/payroll", lambda name: f"handbook/../{name}"):
        answers = [
            put(collection=spell(name), path=path) for name in ("finance", "nowhere") for path in ("plan.md", "x.md")
        ]
        assert len({seen(answer) for answer in answers}) == 1
        assert 400 <= answers[0].status_code < 500
    assert len(lives.world.events()) == told


def test_a_route_that_nobody_has_tried_is_seen(lives: House) -> None:
    """Whatever its kind and method."""

    @get("/forgotten", sync_to_thread=False)
    def forgotten() -> str:
        return "secret"

    @websocket("/forgotten/socket")
    async def socket(socket: WebSocket[Any, Any, Any]) -> None: ...

    app = create_operator_app(lives.world.services)  # its own: it is changed
    before = routes_of(app)
    app.register(forgotten)
    app.register(socket)
    assert routes_of(app) - before == {("GET", "/forgotten"), ("WS", "/forgotten/socket")}


def test_alices_things_are_as_they_were(lives: House) -> None:
    """After all that was tried above."""
    assert lives.alices() == lives.before


@pytest.mark.parametrize(("method", "path", "one"), tries(NAMED))
def test_alice_herself_gets_her_own(lives: House, method: str, path: str, one: Try) -> None:
    """By the same requests: a try that can hit nothing shows nothing."""
    answer = lives.send(ALICE, one.request(method, path, lives.ids[one.of], lives.ids))
    assert answer.status_code == one.own
