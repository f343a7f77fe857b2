"""`/api/conversations`: one's own, in order; listed, named, deleted, and gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
from tests.web.chat_kit import PATH, FailingLog, ScriptedModel
from tests.web.conversation_kit import HOLIDAYS, HOTELS, Talker, talker
from tests.web.world import World, world

ROUTE = "/api/conversations"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("conversations"), log=FailingLog) as made:
        yield made


@pytest.fixture
def pat(usher: World) -> Talker:
    return talker(usher, "staff")


@pytest.fixture
def eve(usher: World) -> Talker:
    """A colleague with the same rights."""
    return talker(usher, "staff")


def test_what_is_asked_is_listed_and_read_again(pat: Talker) -> None:
    """A conversation by its first question, exchanges oldest first, each after the one before it."""
    first, answer = pat.ask(HOLIDAYS)
    second, _ = pat.ask(HOTELS, first.conversation)
    [listed] = pat.listed()
    assert (listed["id"], listed["title"], listed["hidden"]) == (first.conversation, HOLIDAYS, False)
    read = pat.read(first.conversation)
    assert {name: read[name] for name in listed} == listed
    assert [(said["audit_id"], said["parent"], said["question"]) for said in read["exchanges"]] == [
        (first.audit_id, None, HOLIDAYS),
        (second.audit_id, first.audit_id, HOTELS),
    ]
    assert read["exchanges"][0]["answer"] == answer
    assert {said["outcome"] for said in read["exchanges"]} == {"answered"}
    assert {citation["n"] for said in read["exchanges"] for citation in said["citations"]} == {1}
    citation = read["exchanges"][0]["citations"][0]
    opened = pat.send("GET", citation["url"]).json()
    assert opened["text"][opened["passage"]["start"] : opened["passage"]["end"]].strip()
    assert citation["document"] == opened["id"]
    assert read["next"] is None


def test_a_branch_is_read_as_one(pat: Talker) -> None:
    """A client that goes back and asks something else leaves both, with the same parent."""
    first, answer = pat.ask(HOLIDAYS)
    pat.ask(HOTELS, first.conversation)
    resent = [{"role": "user", "content": HOLIDAYS}, {"role": "assistant", "content": answer}]
    question = {"role": "user", "content": "Where is the parking?"}
    response = pat.send("POST", PATH, json={"model": "assistant", "messages": [*resent, question]})
    assert response.json()["usher"]["conversation_id"] == first.conversation
    parents = [said["parent"] for said in pat.read(first.conversation)["exchanges"]]
    assert parents == [None, first.audit_id, first.audit_id]


def test_use_brings_a_conversation_to_the_front(pat: Talker) -> None:
    """Newest first, by its last question."""
    ids = [pat.ask(question)[0].conversation for question in (HOLIDAYS, HOTELS)]
    assert [one["id"] for one in pat.listed()] == ids[::-1]
    pat.ask(HOTELS, ids[0])
    assert [one["id"] for one in pat.listed()] == ids


def test_pages_together_are_the_list(pat: Talker) -> None:
    """`next` goes into `after`, until it is null."""
    made = [pat.create(f"number {n}")["id"] for n in range(5)]
    for limit in (1, 2, 5):
        found, after = [], ""
        while after is not None:
            page = pat.get(f"?limit={limit}" + (after and f"&after={after}"))
            found += [one["id"] for one in page["conversations"]]
            after = page["next"]
        assert found == made[::-1]


def test_a_long_conversation_is_read_from_its_end(pat: Talker) -> None:
    """The newest exchanges on the first page; `next` goes back in time."""
    first, _ = pat.ask(HOLIDAYS)
    ids = [first.audit_id] + [pat.ask(HOTELS, first.conversation)[0].audit_id for _ in range(4)]
    page = pat.get(f"/{first.conversation}?limit=2")
    assert [said["audit_id"] for said in page["exchanges"]] == ids[3:]
    page = pat.get(f"/{first.conversation}?limit=2&after={page['next']}")
    assert [said["audit_id"] for said in page["exchanges"]] == ids[1:3]
    page = pat.get(f"/{first.conversation}?limit=2&after={page['next']}")
    assert [said["audit_id"] for said in page["exchanges"]] == ids[:1]
    assert page["next"] is None


def test_a_created_conversation_takes_its_title_from_the_first_question(pat: Talker) -> None:
    """Null until then; one that a person gave stays."""
    untitled, titled = pat.create(None), pat.create("  Mine ")
    assert (untitled["title"], titled["title"]) == (None, "Mine")
    for one in (untitled, titled):
        pat.ask(HOLIDAYS, one["id"])
    assert [one["title"] for one in pat.listed()] == ["Mine", HOLIDAYS]
    assert pat.read(untitled["id"])["title"] == HOLIDAYS


def test_a_conversation_is_begun_with_the_example_or_with_nothing(pat: Talker) -> None:
    """As `/schema` shows it; a body is not needed."""
    content = pat.send("GET", "/schema").json()["paths"][ROUTE]["post"]["requestBody"]["content"]["application/json"]
    for example in content["schema"]["examples"]:
        assert pat.create(example["title"])["title"] == example["title"]
    assert pat.send("POST", ROUTE).json()["title"] is None


def test_an_answer_that_flows_is_read_as_far_as_it_is_recorded(
    usher: World, pat: Talker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another device, but for the word that is held back; without an outcome until it has come to its end."""
    seen: list[dict[str, Any]] = []

    async def look() -> None:
        listed = (await usher.asked("GET", ROUTE, pat.name)).json()["conversations"]
        seen.append((await usher.asked("GET", f"{ROUTE}/{listed[0]['id']}", pat.name)).json())

    monkeypatch.setattr(usher.services.chat, "_model", ScriptedModel("The first part. ", 0.1, look, "And the rest."))
    pat.ask(HOLIDAYS)
    [[flowing]] = [read["exchanges"] for read in seen]
    assert (flowing["question"], flowing["answer"].strip(), flowing["outcome"]) == (HOLIDAYS, "The first", None)
    [listed] = pat.listed()
    [ended] = pat.read(listed["id"])["exchanges"]
    assert (ended["answer"], ended["outcome"]) == ("The first part. And the rest.", "answered")


def test_a_conversation_is_renamed(pat: Talker) -> None:
    """Everywhere; a later question does not change it, nor its place in the list."""
    first, other = pat.ask(HOLIDAYS)[0], pat.ask(HOTELS)[0]
    renamed = pat.send("PATCH", f"{ROUTE}/{first.conversation}", json={"title": "Urlaub"})
    assert (renamed.status_code, renamed.json()["title"]) == (200, "Urlaub")
    assert [one["id"] for one in pat.listed()] == [other.conversation, first.conversation]
    pat.ask(HOTELS, first.conversation)
    assert pat.listed()[0]["title"] == pat.read(first.conversation)["title"] == "Urlaub"


def test_a_title_that_cannot_be_shown_is_400(pat: Talker) -> None:
    """For a new conversation and for a known one; nothing is changed."""
    known = pat.create("known")["id"]
    for title in ("", "   ", "x" * 201, "a\nb", "a\u202eb"):
        for method, path in (("POST", ROUTE), ("PATCH", f"{ROUTE}/{known}")):
            response = pat.send(method, path, json={"title": title})
            assert (response.status_code, response.json()["field"]) == (400, "title")
    assert [one["title"] for one in pat.listed()] == ["known"]


@pytest.mark.parametrize(
    "path",
    [
        *("?limit=0", "?limit=201", "?limit=x", "?after=x", "?after=", "?after=%00"),
        "?after=01a2043e-25a5-71d1-98db-b2170744b0c1",
        *("/search", "/search?q=", "/search?q=%20", "/search?q=a&limit=0", "/search?q=a&limit=51"),
        f"/search?q={'x' * 201}",
    ],
)
def test_what_cannot_be_asked_for_is_400(usher: World, path: str) -> None:
    """With the field's name."""
    response = usher.ask("GET", ROUTE + path)
    field = "q" if path.startswith("/search") and "limit" not in path else path.partition("?")[2].split("=")[-2]
    assert (response.status_code, response.json()["field"]) == (400, field.rpartition("&")[2])


def test_a_place_of_another_list_is_400(pat: Talker, eve: Talker) -> None:
    """Another person's cursor, or another conversation's exchange, leads nowhere."""
    for number in range(2):
        eve.create(f"eve {number}")
        pat.create(f"pat {number}")
    cursor = eve.get("?limit=1")["next"]
    assert eve.get(f"?limit=1&after={cursor}")["conversations"][0]["title"] == "eve 0"
    response = pat.send("GET", f"{ROUTE}?after={cursor}")
    assert (response.status_code, response.json()["field"]) == (400, "after")
    here, there = pat.ask(HOLIDAYS)[0], pat.ask(HOTELS)[0]
    theirs = eve.ask(HOLIDAYS)[0]
    for after in (there.audit_id, theirs.audit_id, str(uuid4()), "x"):
        response = pat.send("GET", f"{ROUTE}/{here.conversation}?after={after}")
        assert (response.status_code, response.json()["field"]) == (400, "after")


def test_a_foreign_an_absent_a_deleted_and_a_malformed_id_are_one_answer(pat: Talker, eve: Talker) -> None:
    """By every method: the same status, headers and body; nothing of it changes."""
    foreign, deleted = eve.ask(HOLIDAYS)[0].conversation, pat.ask(HOLIDAYS)[0].conversation
    assert pat.send("DELETE", f"{ROUTE}/{deleted}").status_code == 204
    before = eve.read(foreign)
    odd = ("0" * 32, "x", "%00", "x" * 3000, foreign.upper(), f"{{{foreign}}}", f"urn:uuid:{foreign}")
    for method, more in (("GET", {}), ("PATCH", {"json": {"title": "mine now"}}), ("DELETE", {})):
        paths = [f"{ROUTE}/{ident}" for ident in (foreign, str(uuid4()), deleted, *odd)]
        answers = [pat.send(method, path, **more) for path in paths]
        assert {answer.status_code for answer in answers} == {404}
        assert len({(answer.text, str(answer.headers)) for answer in answers}) == 1
    assert eve.read(foreign) == before
    assert pat.listed() == []


def test_another_person_sees_nothing_of_it(pat: Talker, eve: Talker) -> None:
    """Not in the list, not in a search; nor may a question be put there."""
    conversation = pat.ask(HOLIDAYS)[0].conversation
    assert eve.listed() == []
    assert eve.get("/search?q=holiday")["hits"] == []
    with structlog.testing.capture_logs():
        response = eve.send("POST", PATH, json=eve.body(HOTELS), headers={"x-usher-conversation": conversation})
    assert response.status_code == 404
    assert [said["question"] for said in pat.read(conversation)["exchanges"]] == [HOLIDAYS]


def test_a_deleted_conversation_is_gone_everywhere(usher: World, pat: Talker) -> None:
    """From the list, a search, a client's resent history and as a place for a question; recorded by its id alone."""
    first, answer = pat.ask(HOLIDAYS)
    before = len(usher.events())
    assert pat.send("DELETE", f"{ROUTE}/{first.conversation}").status_code == 204
    [event] = usher.events()[before:]
    assert (event["type"], event["op"], event["conversation"]) == ("conversation", "delete", first.conversation)
    assert event["subject"] == pat.pseudonym
    assert set(event) == {"number", "time", "type", "audit_id", "who", "outbox", "op", "conversation", "subject"}
    assert pat.listed() == []
    assert pat.get("/search?q=holiday")["hits"] == []
    resent = [{"role": "user", "content": HOLIDAYS}, {"role": "assistant", "content": answer}]
    body = {"model": "assistant", "messages": [*resent, {"role": "user", "content": HOTELS}]}
    with structlog.testing.capture_logs():
        assert (
            pat.send("POST", PATH, json=body, headers={"x-usher-conversation": first.conversation}).status_code == 404
        )
    asked = pat.send("POST", PATH, json=body).json()["usher"]
    assert asked["conversation_id"] != first.conversation
    assert asked["route"]["reasons"] == ["earlier_turns_left_out:2"]


def test_a_deletion_that_cannot_be_recorded_holds_and_is_recorded_later(usher: World, pat: Talker) -> None:
    """503 that says so; gone at once; one event when the ledger can write again."""
    conversation = pat.ask(HOLIDAYS)[0].conversation
    log = usher.services.audit.review._log
    assert isinstance(log, FailingLog)
    log.full = True
    with structlog.testing.capture_logs():
        response = pat.send("DELETE", f"{ROUTE}/{conversation}")
    log.full = False
    assert response.status_code == 503
    assert "The change is kept" in response.json()["detail"]
    usher.run(usher.services.ledger.checkpoint())  # the ledger sees that it can write again
    assert pat.listed() == []
    assert pat.send("GET", f"{ROUTE}/{conversation}").status_code == 404
    pat.send("DELETE", f"{ROUTE}/{pat.create('another')['id']}")
    events = [event for event in usher.events() if event.get("conversation") == conversation]
    assert [event["type"] for event in events].count("conversation") == 1


def test_conversations_are_limited(usher: World, pat: Talker, monkeypatch: pytest.MonkeyPatch) -> None:
    """413 above what one person may have; deleting one makes room."""
    few = usher.services.settings.model_copy(update={"conversations": 2})
    monkeypatch.setattr(usher.services.limits, "_settings", few)
    made = [pat.create(f"number {n}")["id"] for n in range(2)]
    response = pat.send("POST", ROUTE, json={})
    assert (response.status_code, response.json()["code"]) == (413, "conversations_exceeded")
    pat.send("DELETE", f"{ROUTE}/{made[0]}")
    assert pat.create("another")["title"] == "another"


def test_every_route_needs_the_right_to_ask(usher: World) -> None:
    """403 without it, for one's own as for anything else."""
    one = f"{ROUTE}/{uuid4()}"
    for method, path in (
        ("GET", ROUTE),
        ("POST", ROUTE),
        ("GET", f"{ROUTE}/search?q=a"),
        ("GET", one),
        ("DELETE", one),
    ):
        assert usher.ask(method, path, "erin").status_code == 403
    assert usher.ask("PATCH", one, "erin", json={"title": "x"}).status_code == 403


def test_nothing_is_kept_in_plain(usher: World, pat: Talker) -> None:
    """Questions, answers and titles stand sealed in the files; ids and digests beside them."""
    conversation = pat.ask("Does quetzalcoatl count as a holiday?")[0].conversation
    pat.send("PATCH", f"{ROUTE}/{conversation}", json={"title": "Axolotl plans"})
    pat.create("Xoloitzcuintli")
    held: dict[str, Any] = {
        file.name: file.read_bytes() for file in (usher.folder / "home").iterdir() if file.is_file()
    }
    assert {"usher.sqlite", "ledger.sqlite"} <= set(held)
    for word in (b"quetzalcoatl", b"xolotl", b"oloitzcuintli", b"28 days of holiday"):
        assert not [name for name, data in held.items() if word in data]
    assert UUID(conversation).hex.encode() in held["usher.sqlite"] + held.get("usher.sqlite-wal", b"")
