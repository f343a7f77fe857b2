"""A streamed answer: nothing is shown before it is durable, and whatever ends it is recorded as what it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import structlog
from tests.web.chat_kit import QUESTION, FailingLog, ScriptedModel, Step, Streamed, streamed
from tests.web.world import DOCUMENTS, HOST, OPERATOR, POLICY, World, world

from usher.ledger.record import Kind
from usher.ports import ModelUnavailable

MODEL = ScriptedModel()
PARTS = ("The first sentence is here. ", 0.06, "The second sentence follows. ", 0.06, "The third one ends it. [1]")
LINKS = {"links.yaml": f"hosts: [{HOST}]"}


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("stream"), model=MODEL, log=FailingLog) as made:
        yield made


def ask(usher: World, *steps: Step, who: str = "bob", **more: Any) -> Streamed:
    MODEL.steps = steps
    return usher.run(streamed(usher, who, **more))


def end_of(usher: World) -> dict[str, Any]:
    """The newest exchange's `answer`, which ends it, once."""
    types = [event["type"] for event in usher.newest()]
    assert types.count("answer") == 1
    assert types[-1] == "answer"
    return usher.newest()[-1]


def recorded(usher: World) -> str:
    return usher.recorded(usher.newest()[0]["audit_id"])


def test_an_answer_is_shown_part_by_part_each_durable_before_it_is_shown(usher: World) -> None:
    """At every moment the record, read by another connection with the person's key, holds what the client has."""
    seen: list[str] = []

    def look(text: str) -> None:
        assert recorded(usher).startswith(text)
        seen.append(text)

    got = ask(usher, *PARTS, on_text=look)
    assert got.done
    assert len(seen) >= 3
    assert got.text == recorded(usher) == "".join(part for part in PARTS if isinstance(part, str))


def test_the_five_leaves_stand_in_order_and_carry_one_id(usher: World) -> None:
    """Request, decision, retrieval, generation, answer; the client gets their id."""
    got = ask(usher, *PARTS)
    events = usher.events(got.chunks[-1]["usher"]["audit_id"])
    assert [event["type"] for event in events] == ["request", "decision", "retrieval", "generation", "answer"]
    assert events[-1]["outcome"] == "answered"
    assert events[-1]["content"]["rows"] >= 3
    assert usher.recorded(events[0]["audit_id"], Kind.QUESTION) == QUESTION


def test_the_chunks_are_openais_with_ours_on_the_last(usher: World) -> None:
    """A role first, then text, a reason to end, usage if asked for; `usher` stands on the last chunk before [DONE]."""
    cases: list[tuple[dict[str, Any], list[str]]] = [({}, ["stop"]), ({"stream_options": {"include_usage": True}}, [])]
    for options, last in cases:
        got = ask(usher, *PARTS, **options)
        assert got.headers["content-type"].startswith("text/event-stream")
        assert got.chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert {chunk["object"] for chunk in got.chunks} == {"chat.completion.chunk"}
        assert len({chunk["id"] for chunk in got.chunks}) == 1
        assert ["usher" in chunk for chunk in got.chunks] == [False] * (len(got.chunks) - 1) + [True]
        assert [choice["finish_reason"] for choice in got.chunks[-1]["choices"]] == last
        assert ("usage" in got.chunks[-1]) == bool(options)
        assert got.done
    (citation,) = got.chunks[-1]["usher"]["citations"]
    assert (citation["n"], citation["path"]) == (1, "handbook/holidays.md")
    assert citation["url"] == f"/api/documents/{citation['document']}?passage={citation['chunk']}"


def test_a_client_that_leaves_ends_the_generation_and_is_recorded(usher: World) -> None:
    """The outcome is `cancelled`, the record holds what had been shown, and the model is stopped."""
    got = ask(usher, "Some words that were shown. ", 0.06, "More of them. ", 30.0, "Never said.", leave_after=10)
    usher.run(asyncio.sleep(0.05))
    assert not got.done
    assert end_of(usher)["outcome"] == "cancelled"
    assert recorded(usher).startswith(got.text)
    assert MODEL.aborted


def test_a_model_that_fails_before_the_first_token_is_a_503(usher: World) -> None:
    """The status can still tell; the outcome is recorded."""
    got = ask(usher, ModelUnavailable("it does not answer"))
    assert (got.status, got.headers["retry-after"]) == (503, "5")
    assert got.chunks[0]["error"]["code"] == "model_unavailable"
    assert end_of(usher)["outcome"] == "model_unavailable"


def test_a_model_that_fails_later_ends_the_stream_with_an_error(usher: World) -> None:
    """One error event, and no [DONE]."""
    got = ask(usher, "A beginning that was shown. ", 0.06, ModelUnavailable("gone", started=True))
    assert got.text == recorded(usher) != ""
    assert got.error is not None
    assert (got.error["code"], got.error["type"]) == ("model_unavailable", "server_error")
    assert end_of(usher)["outcome"] == "model_unavailable"


def test_a_mistake_in_a_model_ends_the_stream_and_is_no_cancellation(usher: World) -> None:
    """What nobody foresaw is `failed` in the record, and its words do not reach the client."""
    with structlog.testing.capture_logs():
        got = ask(usher, "A beginning that was shown. ", 0.06, RuntimeError("the vault's code is 1234"))
    assert got.error is not None
    assert got.error["code"] == "failed"
    assert "1234" not in "".join(got.events)
    assert end_of(usher)["outcome"] == "failed"


async def _revoke(usher: World) -> None:
    await usher.services.people.revoke_key(usher.key_ids["zoe"], OPERATOR)


async def _deactivate(usher: World) -> None:
    await usher.services.people.deactivate("zoe", OPERATOR)


async def _no_groups(usher: World) -> None:
    await usher.services.people.set_groups("zoe", [], OPERATOR)


async def _narrow(usher: World) -> None:
    await usher.apply(POLICY.replace("p, role:employee, coll:handbook", "p, role:board, coll:handbook"), **LINKS)


async def _no_links(usher: World) -> None:
    await usher.apply(POLICY)


async def _withdraw(usher: World) -> None:
    await usher.ingest({path: text for path, text in DOCUMENTS.items() if path != "handbook/holidays.md"})


async def _replace(usher: World) -> None:
    await usher.ingest({**DOCUMENTS, "handbook/holidays.md": "# Holidays\n\nNow another text.\n"})


CHANGES: dict[str, tuple[Callable[[World], Awaitable[None]], str]] = {
    "the key is revoked": (_revoke, "key_revoked"),
    "the person is deactivated": (_deactivate, "person_inactive"),
    "the person leaves the group": (_no_groups, "chat_not_allowed"),
    "the policy takes the collection away": (_narrow, "access_changed"),
    "the policy takes the links away": (_no_links, "access_changed"),
    "the document is withdrawn": (_withdraw, "access_changed"),
    "the document is replaced": (_replace, "access_changed"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_what_narrows_ends_an_answer_that_flows(usher: World, change: str) -> None:
    """The next part is not shown: the stream ends with a denial that is recorded."""
    act, code = CHANGES[change]
    usher.run(_fresh(usher))
    got = ask(usher, "What was shown before. ", 0.06, lambda: act(usher), "What must not be shown. [1]", who="zoe")
    try:
        assert "must not" not in "".join(got.events)
        assert "shown" in got.text
        assert got.error is not None
        assert (got.error["type"], got.error["code"]) == ("permission_error", code)
        assert not got.done
        assert end_of(usher)["outcome"] == code
    finally:
        usher.run(_fresh(usher))


async def _fresh(usher: World) -> None:
    await usher.apply(POLICY, **LINKS)
    await usher.ingest()
    await usher.add("zoe", ["staff"])


def test_what_widens_or_does_not_concern_the_answer_lets_it_flow(usher: World) -> None:
    """A new document and somebody else's key end nobody's stream."""

    async def others() -> None:
        await usher.ingest({**DOCUMENTS, "handbook/new.md": "# New\n\nA new page.\n"})
        await usher.add("yan", ["staff"])

    assert ask(usher, "Before the change. ", 0.06, others, "After the change.").done


def test_a_ledger_that_fails_in_the_middle_stops_the_flow(usher: World) -> None:
    """Nothing unrecorded is shown; the error says so, and a later answer works again."""
    log = usher.services.audit.review._log
    assert isinstance(log, FailingLog)

    async def fill() -> None:
        log.full = True

    with structlog.testing.capture_logs():
        got = ask(usher, "What was shown before. ", 0.06, fill, "What was never recorded.")
    log.full = False
    assert "never" not in "".join(got.events)
    assert got.error is not None
    assert got.error["code"] == "unrecorded"
    assert recorded(usher).startswith(got.text)
    assert ask(usher, "It works again.").done


def test_a_stop_of_the_server_ends_streams_and_starts_none(usher: World) -> None:
    """Both are recorded as cancelled; what comes first tells by its status."""
    chat = usher.services.chat
    got = ask(usher, "What was shown before. ", 0.06, chat.drain, 30.0)
    assert got.error is not None
    assert got.error["code"] == "cancelled"
    assert end_of(usher)["outcome"] == "cancelled"
    late = ask(usher, "Too late.")
    assert (late.status, end_of(usher)["outcome"]) == (503, "cancelled")
    chat._draining = False


def test_invented_citations_are_dropped_and_counted(usher: World) -> None:
    """A number that was not in the prompt leaves the text; the record counts it."""
    got = ask(usher, "It is so [1] and so [7", 0.06, "7], see [2, 99].")
    assert got.text == "It is so [1] and so, see [2]."
    assert [citation["n"] for citation in got.chunks[-1]["usher"]["citations"]] == [1, 2]
    assert (end_of(usher)["cited"], end_of(usher)["citations_dropped"]) == ([1, 2], 2)


def test_addresses_outside_the_allowed_hosts_do_not_leave(usher: World) -> None:
    """An image, a link and a bare address go, split over deltas too; an allowed host stays."""
    usher.run(usher.apply(POLICY, **LINKS))
    evil = ("An image ![x](https://ev", 0.06, "il.test/?q=secret) here, [a link](https://evil.test/a) there. ")
    got = ask(usher, *evil, f"Also [the guide](https://{HOST}/guide).", stream_options={"include_usage": True})
    assert "evil" not in "".join(got.events)
    assert f"[the guide](https://{HOST}/guide)" in got.text
    assert sum(end_of(usher)["removed"].values()) == 2
