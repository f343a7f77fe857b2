"""What happens at the wrong moment: rights that change while a question is prepared, clients that leave while its end
is kept; and turns that are resent by the thousand."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.web.chat_kit import QUESTION, ScriptedModel, chat_scope
from tests.web.world import DOCUMENTS, POLICY, World, world
from tests.web.ws_kit import Client, talk

from usher.backends.memory import MemoryStore
from usher.core import exposures
from usher.core.dialogue import normalized
from usher.core.history import split
from usher.core.prompt import NO_ANSWER
from usher.ledger.record import uuid7
from usher.ports import ExchangeRow
from usher.threads import Place, Threads

NO_HANDBOOK = POLICY.replace("p, role:employee, coll:handbook, document.read, allow, always\n", "")
NO_BOARD = POLICY.replace("g, user:carol, role:board\n", "g, user:carol, role:employee\n")
MERGER = "Is it right that the zanzibar merger closes at ninety million euros?"
MODEL = ScriptedModel()


class Store(MemoryStore):
    """One in which something happens while it is searched."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def search(self, *asked: Any) -> Any:
        found = await super().search(*asked)
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            await act()
        return found


STORE = Store()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("races"), model=MODEL, store=STORE) as made:
        yield made


@pytest.fixture
def usher(house: World) -> Iterator[World]:
    """With the policy and the documents as they were, and nothing left open."""
    MODEL.steps, MODEL.requests = ["It is so [1]."], []
    yield house
    services = house.services
    assert not services.chat._open
    assert not services.watch._open
    assert not services.live._flows
    assert not any(any(used.open.values()) for used in services.limits._people.values())
    house.run(house.apply(POLICY))
    house.run(house.ingest())


def test_the_watcher_does_not_vouch_for_what_was_looked_up_before_a_change(usher: World) -> None:
    """A right that is taken away while passages are looked up keeps them from the model, whoever notices first."""

    async def taken_and_noticed() -> None:
        await usher.apply(NO_HANDBOOK)
        await usher.services.watch.look()
        await usher.services.watch.look()

    STORE.meanwhile = taken_and_noticed
    response = usher.chat(QUESTION)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "access_changed")
    assert MODEL.requests == []


def test_what_is_prepared_is_judged_once_more_before_the_model_is_asked(usher: World) -> None:
    """A WebSocket may take long to let its first frames through."""

    async def slowly(client: Client) -> None:
        client.one_by_one = True
        client.ask()
        await client.until("route")
        await usher.apply(NO_HANDBOOK)
        client.one_by_one = False
        client.reading.set()
        assert (await client.end())["code"] == "access_changed"

    talk(usher, slowly)
    assert MODEL.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_while_the_end_is_kept_leaves_nothing_open(
    usher: World, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer has ended, in its conversation too, and nothing is held for it any more."""
    threads = usher.services.chat._threads
    body = {"model": "assistant", "stream": stream, "messages": [{"role": "user", "content": QUESTION}]}
    waiting = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    ending, gone = asyncio.Event(), asyncio.Event()
    real_end = threads.end

    async def end(*arguments: Any) -> None:
        ending.set()
        await gone.wait()
        await real_end(*arguments)

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop()
        await ending.wait()
        asyncio.get_running_loop().call_later(0.05, gone.set)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None: ...

    async def leave() -> str | None:
        await usher.app(chat_scope(usher.bearer("bob")), receive, send)  # type: ignore[arg-type]  # an ASGI scope
        await asyncio.gather(*usher.services.chat._ending)
        row = (await threads._index.newest("bob", 1))[0]
        return row.outcome

    monkeypatch.setattr(threads, "end", end)
    assert usher.run(leave()) == "answered"


def again(usher: World, audit_id: str) -> dict[str, Any]:
    """The last frame of the answer to the same question, asked once more."""

    async def ask(client: Client) -> None:
        client.ask("again", None, instead_of=audit_id)
        await client.end("again")

    return talk(usher, ask, "carol").got[-1]


def test_a_question_asked_once_more_is_shown_while_its_first_exchange_may_be(usher: World) -> None:
    """Also where the passages are others now."""
    first = usher.chat(MERGER, "carol").json()["usher"]
    usher.run(usher.ingest({path: text for path, text in DOCUMENTS.items() if "merger" not in path}))
    assert again(usher, first["audit_id"])["outcome"] == "answered"
    usher.run(usher.apply(NO_BOARD))
    text = usher.ask("GET", f"/api/conversations/{first['conversation_id']}", "carol").text
    assert "zanzibar" not in text


def test_a_question_asked_once_more_is_judged_until_the_model_is_asked(usher: World) -> None:
    """It was read back from the record, so it is an exchange in the prompt."""
    first = usher.chat(MERGER, "carol").json()["usher"]
    MODEL.requests = []

    async def taken() -> None:
        await usher.apply(NO_BOARD)

    STORE.meanwhile = taken
    assert again(usher, first["audit_id"])["code"] == "access_changed"
    assert MODEL.requests == []


class _Index:
    """Whatever is asked for is there."""

    def __init__(self, rows: list[ExchangeRow]) -> None:
        self._rows = rows

    async def by_answer(self, user: str, digests: object) -> list[ExchangeRow]:
        return self._rows


def test_one_answer_resent_a_thousand_times_costs_little(usher: World) -> None:
    """Many exchanges have the same answer, and each of them counts."""

    async def work() -> float:
        subject = await usher.services.ledger.subject("bob")
        digest, documents = subject.digest(normalized(NO_ANSWER)), [uuid4() for _ in range(50)]
        conversation, now = UUID(uuid7()), datetime.now(UTC)
        rows = [
            ExchangeRow(
                UUID(uuid7()),
                conversation,
                None,
                now,
                exposures.pack(documents[n % 40 : n % 40 + 8]),
                subject.digest(f"q{n}"),
                digest,
            )
            for n in range(1_000)
        ]
        threads = Threads(_Index(rows), usher.services.documents, usher.services.ledger)  # type: ignore[arg-type]  # of it
        turns = [
            turn
            for n in range(900)
            for turn in ({"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": NO_ANSWER})
        ]
        asked = split([*turns, {"role": "user", "content": QUESTION}])
        began = time.perf_counter()
        thread = await threads.find("bob", subject, asked, Place())
        took = time.perf_counter() - began
        assert [row.id for row in thread.path] == [row.id for row in rows[:900]]
        assert {row.exposures for row in thread.path} == {exposures.pack(documents[:47])}
        return took

    assert usher.run(work()) < 0.5


def test_much_that_was_shown_is_judged_beside_the_event_loop(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody's answers wait for the loop."""
    threads, on = usher.services.chat._threads, set[int]()
    real = exposures.documents_of

    def noted(shown: Any) -> list[UUID]:
        on.add(threading.get_ident())
        return real(shown)

    monkeypatch.setattr(exposures, "documents_of", noted)
    shown = [exposures.pack(uuid4() for _ in range(3_000)) for _ in range(2)]
    scope = usher.run(usher.services.authority.admit(usher.keys["bob"])).scope  # type: ignore[union-attr]  # his key
    assert usher.run(threads.permitted(scope, shown)) == [False, False]
    assert on.isdisjoint({threading.get_ident()})
