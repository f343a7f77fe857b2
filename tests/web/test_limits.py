"""What one person may use, told clearly, and nobody else pays for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.web.chat_kit import PATH, QUESTION, ScriptedModel
from tests.web.world import World, world

from usher import limits as limits_module
from usher.limits import LimitExceeded, Limits
from usher.settings import Settings, read_settings

MODEL = ScriptedModel()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("limits"), model=MODEL) as made:
        yield made


@pytest.fixture(autouse=True)
def _words() -> None:
    MODEL.steps = ("The hotel costs ", 0.0, "180 euros.")


def limited(usher: World, **settings: int) -> Limits:
    """The world's limits, replaced."""
    made = Limits(read_settings(home=usher.folder / "home", **settings), CLOCK)
    object.__setattr__(usher.services, "limits", made)
    return made


def few(**settings: int) -> Limits:
    return Limits(Settings(**settings), CLOCK)  # type: ignore[arg-type]  # validated by pydantic


def refusal(error: pytest.ExceptionInfo[LimitExceeded]) -> tuple[int, str, int | None]:
    return error.value.status, error.value.code, error.value.retry_after


def test_more_requests_than_a_minute_has_are_refused(usher: World) -> None:
    """With the seconds to wait, in the surface's shape; after them it works again; others are not touched."""
    limited(usher, requests_per_minute=2)
    assert [usher.ask("GET", "/api/me").status_code for _ in range(3)] == [200, 200, 429]
    problem, openai = usher.ask("GET", "/api/me"), usher.chat(QUESTION)
    assert (problem.headers["retry-after"], openai.headers["retry-after"]) == ("30", "30")
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["detail"] == "requests are limited to 2 a minute: try again in 30 seconds"
    assert problem.json()["code"] == "rate_limit_exceeded"
    error = openai.json()["error"]
    assert (openai.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert usher.ask("GET", "/api/me", "carol").status_code == 200
    CLOCK.now += 30
    assert usher.ask("GET", "/api/me").status_code == 200


def test_every_keyed_route_counts(usher: World) -> None:
    """Also what the policy denies and what does not exist; a stranger's requests are nobody's."""
    kept = limited(usher, requests_per_minute=3)
    for path in ("/v1/models", "/api/documents", "/api/documents/none"):
        assert usher.ask("GET", path).status_code != 429
    assert usher.ask("GET", "/api/me").status_code == 429
    for key in ({}, {"authorization": "Bearer usher-none"}):
        assert usher.ask("GET", "/api/me", None, headers=key).status_code == 401
    assert set(kept._people) == {"bob"}
    assert kept.refused == {"rate_limit_exceeded": 1}


def test_the_default_is_more_than_a_client_asks_for() -> None:
    """Six thousand at once, and a hundred a second after."""
    kept = few()
    for _ in range(6_000):
        kept.request("bob")
    with pytest.raises(LimitExceeded) as error:
        kept.request("bob")
    assert refusal(error) == (429, "rate_limit_exceeded", 1)
    CLOCK.now += 1
    for _ in range(100):
        kept.request("bob")


def test_answers_have_a_number_at_once(usher: World) -> None:
    """One more is refused with 429; when one has ended, however it ended, another may begin."""
    limited(usher, streams=2)
    body = {"model": "assistant", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
    MODEL.steps = ("Some words. ", 0.3, "More.")

    async def work() -> list[Any]:
        running = [asyncio.create_task(usher.asked("POST", PATH, json=body)) for _ in range(2)]
        await asyncio.sleep(0.1)
        return [await usher.asked("POST", PATH, json=body | {"stream": stream}) for stream in (True, False)] + [
            await task for task in running
        ]

    *refused, one, other = usher.run(work())
    assert [answer.status_code for answer in (*refused, one, other)] == [429, 429, 200, 200]
    assert refused[0].json()["error"]["code"] == "streams_exceeded"
    assert refused[0].headers["retry-after"] == "5"
    MODEL.steps = ("A word.",)
    for _ in range(4):
        assert usher.chat(QUESTION).status_code == 200
        assert usher.chat("x" * 100_000).status_code == 400
        assert usher.chat(QUESTION, "erin").status_code == 403


def test_an_answers_tokens_are_charged_when_it_has_ended(usher: World) -> None:
    """The one that uses them up is given; the next waits until what it owes is back."""
    kept = limited(usher, tokens_per_minute=1)
    assert usher.chat(QUESTION).status_code == 200
    owed = -kept._people["bob"].tokens.left
    assert owed > 0
    waits = usher.chat(QUESTION)
    assert (waits.status_code, waits.json()["error"]["param"]) == (429, "tokens")
    assert int(waits.headers["retry-after"]) >= owed * 60
    CLOCK.now += int(waits.headers["retry-after"])
    assert usher.chat(QUESTION).status_code == 200


def test_an_answer_that_is_broken_off_is_not_free(usher: World) -> None:
    """It counts with all that it was allowed to write."""
    kept = limited(usher)
    MODEL.steps = ("Some words. ", 30.0)

    async def work() -> None:
        request = asyncio.create_task(
            usher.asked(
                "POST",
                PATH,
                json={"model": "assistant", "max_tokens": 777, "messages": [{"role": "user", "content": QUESTION}]},
            )
        )
        await asyncio.sleep(0.1)
        request.cancel()
        await asyncio.wait({request})
        await asyncio.sleep(0)

    usher.run(work())
    used = kept._people["bob"]
    assert 12_000_000 - used.tokens.left >= 777
    assert not any(used.open.values())


def test_sockets_have_a_number_at_once() -> None:
    """Letting one go twice lets one go."""
    kept = few(sockets=2)
    with kept.socket("bob") as first:
        second = kept.socket("bob")
        with pytest.raises(LimitExceeded) as error:
            kept.socket("bob")
        assert refusal(error) == (429, "sockets_exceeded", 5)
        with kept.socket("carol"):
            pass
        first.release()
    kept.socket("bob")
    with pytest.raises(LimitExceeded):
        kept.socket("bob")
    second.release()


def test_room_has_an_end_and_a_remedy() -> None:
    """Conversations and stored bytes: waiting does not help, so it is 413, and says what does."""
    kept = few(conversations=3, stored_bytes=1000)
    kept.conversations("bob", 2)
    kept.stored("bob", 999)
    for code, ask in (("conversations_exceeded", kept.conversations), ("stored_bytes_exceeded", kept.stored)):
        with pytest.raises(LimitExceeded) as error:
            ask("bob", 1000)
        assert refusal(error) == (413, code, None)
        assert error.value.remedy


def test_a_crowd_wins_nobody_a_fresh_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """People who have rested are forgotten, and only they: not who has used something up, nor who has something
    open."""
    monkeypatch.setattr(limits_module, "MOST_REMEMBERED", 10)
    kept = few(requests_per_minute=60, tokens_per_minute=60)
    for _ in range(60):
        kept.request("greedy")
    kept.spent("debtor", 600)
    held = kept.socket("idler")
    for n in range(200):
        CLOCK.now += 0.1  # a request is back after a second
        kept.request(f"u{n}")
    assert {"greedy", "debtor", "idler"} <= set(kept._people)
    assert len(kept._people) <= 20
    assert kept._people["greedy"].requests.left == 0
    held.release()


def test_everybody_at_once_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """More people than are remembered, all of them active: none starts afresh."""
    monkeypatch.setattr(limits_module, "MOST_REMEMBERED", 10)
    kept = few(requests_per_minute=1)
    for n in range(50):
        kept.request(f"u{n}")
    for n in range(50):
        with pytest.raises(LimitExceeded):
            kept.request(f"u{n}")


def test_whoever_has_stored_too_much_asks_nothing_more(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the record keeps counts, also of a conversation that was deleted; nothing is recorded of the refused one."""
    prepare = usher.services.chat._prepare
    monkeypatch.setattr(prepare, "_limits", few(stored_bytes=1))
    assert usher.chat(QUESTION, "carol").status_code == 200
    before = len(usher.events())
    refused = usher.chat(QUESTION, "carol")
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "stored_bytes_exceeded")
    assert len(usher.events()) == before
    assert usher.chat(QUESTION, "alice").status_code == 200
    monkeypatch.setattr(prepare, "_limits", few(stored_bytes=10_000))
    assert usher.chat(QUESTION, "carol").status_code == 200


def test_a_question_that_would_begin_one_conversation_too_many_is_refused(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The conversations there are go on."""
    kept = usher.chat(QUESTION).json()
    monkeypatch.setattr(usher.services.chat._prepare, "_limits", few(conversations=1))
    refused = usher.chat(QUESTION)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "conversations_exceeded")
    body = {"model": "assistant", "messages": [{"role": "user", "content": QUESTION}]}
    headers = {"x-usher-conversation": kept["usher"]["conversation_id"]}
    assert usher.ask("POST", PATH, json=body, headers=headers).status_code == 200
