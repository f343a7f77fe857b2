"""Questions and answers over `/ws/chat`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest
from tests.web.chat_kit import QUESTION, ScriptedModel
from tests.web.world import World, world
from tests.web.ws_kit import Client, chatting, talk

from usher.ledger.record import Kind
from usher.web.ws_questions import MAX_IN_FLIGHT

SILENCE = 30.0
ANSWER = "Twenty-eight of them [1]."


@pytest.fixture(scope="module")
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("ws"), model=model) as made:
        yield made


@pytest.fixture(autouse=True)
def _says(model: ScriptedModel) -> None:
    model.steps = ["Twenty-eight ", 0.06, "of them [1]."]


def test_an_answer_comes_in_its_frames(usher: World) -> None:
    """Route, sources, deltas in order, and one end with citations, as the record has it."""

    async def one(client: Client) -> None:
        client.ask()
        await client.end()

    client = talk(usher, one)
    assert [frame["type"] for frame in client.got[:3]] == ["ready", "route", "sources"]
    assert {frame["type"] for frame in client.got[3:-1]} == {"delta"}
    route, sources, done = client.got[1], client.got[2], client.got[-1]
    assert [frame["seq"] for frame in client.deltas()] == list(range(1, len(client.deltas()) + 1))
    assert client.said() == usher.recorded(route["audit_id"]) == ANSWER
    assert (done["outcome"], done["finish_reason"]) == ("answered", "stop")
    assert [citation["n"] for citation in done["citations"]] == [1]
    assert done["citations"][0] in sources["sources"]
    assert done["usage"] == {"prompt_tokens": 70, "completion_tokens": 20, "total_tokens": 90}
    assert usher.events(route["audit_id"])[-1]["outcome"] == "answered"


def test_sources_are_those_of_the_prompt(usher: World, model: ScriptedModel) -> None:
    """No other passage, and each with the address that opens it."""

    async def one(client: Client) -> None:
        client.ask()
        await client.end()

    sources = talk(usher, one).got[2]["sources"]
    assert [source["n"] for source in sources] == [passage.n for passage in model.requests[-1].passages]
    assert all(usher.ask("GET", source["url"]).status_code == 200 for source in sources)
    assert not any("board" in source["path"] for source in sources)


def test_without_passages_the_plain_no_answer(usher: World) -> None:
    """In the same frames."""

    async def one(client: Client) -> None:
        client.ask(question="How many days of holiday has an employee?")
        assert (await client.end())["outcome"] == "no_answer"

    usher.run(usher.apply_also("p, role:nothing, sys:chat, chat.ask, allow, always", "g, user:erin, role:nothing"))
    client = talk(usher, one, "erin")
    assert client.got[2] == {"type": "sources", "id": "q", "sources": []}


def test_answers_interleave_on_one_socket(usher: World, model: ScriptedModel) -> None:
    """Each frame says whose it is; a quick answer does not wait for a slow one."""
    slow = asyncio.Event()

    async def several(client: Client) -> None:
        model.steps = ["It goes slowly. ", slow.wait, "It is done."]
        client.ask("slow")
        await client.until("delta", id="slow")
        model.steps = ["Quick."]
        client.ask("quick")
        assert (await client.end("quick"))["outcome"] == "answered"
        slow.set()
        await client.end("slow")
        assert (client.said("quick"), client.said("slow")) == ("Quick.", "It goes slowly. It is done.")

    talk(usher, several)


def test_only_so_many_are_in_flight(usher: World, model: ScriptedModel) -> None:
    """One more is refused by name; after an end there is room again, and a name can be used again."""
    model.steps = ["It goes silent. ", SILENCE]

    async def crowd(client: Client) -> None:
        for n in range(MAX_IN_FLIGHT):
            client.ask(str(n))
            await client.until("delta", id=str(n))
        client.ask("more")
        refused = await client.end("more")
        assert (refused["code"], refused["retry_after"]) == ("too_many_in_flight", 1)
        client.say("cancel", id="0")
        await client.end("0")
        client.ask("0")
        await client.until("delta", id="0")

    talk(usher, crowd)


def test_a_name_in_flight_is_not_given_twice(usher: World, model: ScriptedModel) -> None:
    """The refusal has no id: it is not the end of the question that has the name."""
    model.steps = ["It goes silent. ", SILENCE]

    async def twice(client: Client) -> None:
        client.ask("a")
        await client.until("delta")
        client.ask("a")
        refused = await client.until("error")
        assert (refused["id"], refused["code"]) == (None, "duplicate_id")

    talk(usher, twice)


@pytest.mark.parametrize("silent", [False, True])
def test_a_cancelled_answer_ends_recorded(usher: World, model: ScriptedModel, silent: bool) -> None:
    """Whether or not its model is saying something; and the model is told."""
    model.steps = ["It goes silent. ", SILENCE] if silent else ["And so on. ", *([0.01, "And on. "] * 1000)]

    async def cancel(client: Client) -> None:
        client.ask()
        await client.until("delta")
        client.say("cancel", id="q")
        done = await client.end()
        assert (done["type"], done["outcome"], done["finish_reason"]) == ("done", "cancelled", "cancelled")
        end = usher.events(done["audit_id"])[-1]
        assert (end["type"], end["outcome"]) == ("answer", "cancelled")
        assert usher.recorded(done["audit_id"]) == client.said()
        assert model.aborted

    talk(usher, cancel)


def test_a_question_is_cancelled_before_it_has_a_route(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is recorded, and told without an audit id."""
    searching = asyncio.Event()

    async def never(*_: object) -> None:
        searching.set()
        await asyncio.sleep(SILENCE)

    async def cancel(client: Client) -> None:
        monkeypatch.setattr(usher.services.retrieve, "find", never)
        client.ask()
        await searching.wait()
        client.say("cancel", id="q")
        done = await client.end()
        assert (done["outcome"], done["audit_id"]) == ("cancelled", None)
        assert usher.newest()[-1]["outcome"] == "cancelled"

    talk(usher, cancel)


def test_what_is_not_in_flight_cannot_be_cancelled(usher: World) -> None:
    """Never asked, ended, or asked over another socket."""

    async def nothing(client: Client) -> None:
        client.ask()
        await client.end()
        for id in ("q", "other"):
            client.say("cancel", id=id)
            refused = await client.next()
            assert (refused["id"], refused["code"]) == (None, "not_in_flight")

    talk(usher, nothing)


def test_a_conversation_goes_on(usher: World, model: ScriptedModel) -> None:
    """In its conversation, with what was said before; and instead of an exchange, as a branch beside it."""

    async def go_on(client: Client) -> None:
        client.ask("1")
        await client.end("1")
        first = next(frame for frame in client.got if frame["type"] == "route")
        for id, more in {
            "2": {"question": "And hotels?", "conversation": first["conversation_id"]},
            "3": {"question": "And hotels?", "after": first["audit_id"]},
            "4": {"question": "And in a year?", "instead_of": first["audit_id"]},
            "5": {"question": None, "instead_of": first["audit_id"]},
        }.items():
            client.ask(id, **more)
            route = await client.until("route", id=id)
            await client.end(id)
            assert route["conversation_id"] == first["conversation_id"]
            assert any("Twenty-eight of them" in str(m["content"]) for m in model.requests[-1].messages) == (id in "23")
        assert usher.recorded(route["audit_id"], Kind.QUESTION) == QUESTION

    talk(usher, go_on)


def test_a_foreign_place_is_an_absent_one(usher: World) -> None:
    """And one that is no id."""

    async def foreign(client: Client) -> None:
        client.ask()
        await client.end()
        route = client.got[1]
        async with chatting(usher, "alice") as other:
            for field, mine in {
                "conversation": route["conversation_id"],
                "after": route["audit_id"],
                "instead_of": route["audit_id"],
            }.items():
                told = []
                for id in (mine, str(uuid4()), mine.upper(), "no id", ""):
                    other.ask(**{field: id})
                    told.append(await other.end())
                assert told[0]["code"] == "not_found"
                assert told == [told[0]] * len(told)

    talk(usher, foreign)


def test_a_clean_leave_ends_what_is_in_flight(usher: World, model: ScriptedModel) -> None:
    """Recorded as cancelled when the socket is over; with a code or, as browsers do, without one."""
    model.steps = ["It goes silent. ", SILENCE]

    async def leave(code: int | None) -> None:
        async with chatting(usher) as client:
            client.ask()
            await client.until("delta")
            await client.leave(code)
        assert usher.newest()[-1]["outcome"] == "cancelled"
        assert model.aborted

    for code in (1000, 1001, None):
        usher.run(leave(code))


def test_nothing_of_a_person_stays_held(usher: World) -> None:
    """Answers that ended, in whatever way, and sockets that were left, count no more."""

    async def one(client: Client) -> None:
        client.ask()
        await client.end()

    talk(usher, one)
    used = usher.services.limits._people["bob"].open
    assert used
    assert not any(used.values())
