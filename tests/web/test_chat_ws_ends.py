"""What ends a socket: a right that is gone, a reader that does not read, a server that stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.web.chat_kit import FailingLog, ScriptedModel
from tests.web.world import OPERATOR, POLICY, World, world
from tests.web.ws_kit import Client, chatting, connected

from usher.ledger.log import LedgerUnavailable
from usher.ports import ModelUnavailable
from usher.web import ws_line

SILENCE = 30.0
FIRST = "The first words are here. "
BOUND = 1.0
"""Seconds: far above the bound that is measured elsewhere, far below the model's silence."""
MODEL = ScriptedModel()
Change = Callable[[World], Awaitable[object]]


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("ws"), model=MODEL, log=FailingLog) as made:
        yield made


@pytest.fixture(autouse=True)
def _as_before(usher: World) -> Iterator[None]:
    yield
    usher.run(usher.apply(POLICY))


async def _revoked(usher: World) -> None:
    await usher.services.people.revoke_key(usher.key_ids["bob"], OPERATOR)


async def _deactivated(usher: World) -> None:
    await usher.services.people.deactivate("bob", OPERATOR)


async def _groups(usher: World) -> None:
    await usher.services.people.set_groups("bob", [], OPERATOR)


async def _policy(usher: World) -> None:
    await usher.apply(POLICY.replace("g, group:staff, role:employee\n", ""))


GONE: dict[str, tuple[Change, str, int]] = {
    "key revoked": (_revoked, "key_revoked", 4401),
    "person deactivated": (_deactivated, "person_inactive", 4401),
    "groups taken away": (_groups, "chat_not_allowed", 4403),
    "policy": (_policy, "chat_not_allowed", 4403),
}
FLOWING = [FIRST, *([0.02, "And so on it goes. "] * 500)]
SILENT = [FIRST, SILENCE]


@pytest.mark.parametrize("steps", [None, FLOWING, SILENT], ids=["idle", "flowing", "silent"])
def test_a_right_that_is_gone_ends_the_socket(usher: World, steps: list[Any] | None) -> None:
    """Each of them, told why, within the watcher's bound; what was in flight has its end with the reason. Others'
    sockets stay."""
    MODEL.steps = steps or []

    async def ended(change: Change, code: str, number: int) -> None:
        async with chatting(usher, "alice") as other, chatting(usher) as client:
            if steps is not None:
                client.ask()
                await client.until("delta")
            await change(usher)
            began = time.monotonic()
            assert await client.over() == number
            assert time.monotonic() - began < BOUND
            assert (client.got[-1]["id"], client.got[-1]["code"], client.reason) == (None, code, code)
            await client.done()
            if steps is not None:
                end = usher.newest()[-1]
                assert (end["type"], end["outcome"]) == ("answer", code)
                assert usher.recorded(end["audit_id"]).startswith(client.said())
            other.say("cancel", id="none")
            assert (await other.next())["code"] == "not_in_flight"

    async def work() -> None:
        for change, code, number in GONE.values():
            await ended(change, code, number)
            await usher.apply(POLICY)
            await usher.add("bob", ["staff"])

    usher.run(work())


def test_a_key_that_expires_ends_its_socket(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although nothing changes but the time."""
    later = datetime.now(UTC) + timedelta(days=1)
    now = datetime.now(UTC)
    for part in (usher.services.authority, usher.services.watch):
        monkeypatch.setattr(part, "_clock", lambda: now)

    async def work() -> None:
        nonlocal now
        key = (await usher.services.people.create_key("bob", later, None, OPERATOR)).key
        async with connected(usher) as client:
            client.say("auth", key=key)
            assert (await client.next())["type"] == "ready"
            now = later
            assert await client.over() == 4401
            assert client.got[-1]["code"] == "key_expired"

    usher.run(work())


def test_what_may_no_longer_be_read_ends_its_answer_only(usher: World) -> None:
    """The socket stays, and the next question is answered of what is left."""
    MODEL.steps = SILENT

    async def work() -> None:
        async with chatting(usher) as client:
            client.ask()
            await client.until("delta")
            await usher.apply(POLICY.replace("p, role:employee, coll:handbook, document.read, allow, always\n", ""))
            error = await client.end()
            assert (error["code"], error["id"]) == ("access_changed", "q")
            assert usher.events(error["audit_id"])[-1]["outcome"] == "access_changed"
            client.ask()
            assert (await client.end())["outcome"] == "no_answer"

    usher.run(work())


def test_a_slow_reader_is_cut_off(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a reason, its answer cancelled; nobody else is slowed."""
    monkeypatch.setattr(ws_line, "SEND_SECONDS", 0.2)
    MODEL.steps = FLOWING

    async def work() -> None:
        async with chatting(usher) as slow, chatting(usher, "alice") as other:
            slow.ask()
            await slow.until("delta")
            slow.reading.clear()
            other.ask()
            began = time.monotonic()
            for _ in range(5):
                await other.until("delta")
            assert time.monotonic() - began < BOUND
            await slow.done()
            assert (slow.closed, slow.reason) == (4408, "slow_reader")
            audit_id = slow.got[1]["audit_id"]
            assert usher.events(audit_id)[-1]["outcome"] == "cancelled"
            assert usher.recorded(audit_id).startswith(slow.said())
            await other.until("delta")

    usher.run(work())


def test_a_slow_reader_gets_nothing_that_went_stale(usher: World) -> None:
    """What it has not taken waits unsaid: the model is not run ahead of its reader."""
    MODEL.steps = [step for n in range(6) for step in (f"This is part {n}. ", 0.06)]

    async def work() -> None:
        async with chatting(usher) as client:
            client.ask()
            await client.until("delta")
            client.reading.clear()
            await asyncio.sleep(0.4)
            await usher.apply(POLICY.replace("p, role:employee, coll:handbook, document.read, allow, always\n", ""))
            client.reading.set()
            assert (await client.end())["code"] == "access_changed"
            assert len(client.deltas()) <= 2

    usher.run(work())


def test_a_model_that_fails_ends_its_question(usher: World) -> None:
    """Before its first word or after it; the socket stays."""

    async def work() -> None:
        async with chatting(usher) as client:
            for n, steps in enumerate(([ModelUnavailable("down")], [FIRST, ModelUnavailable("down")])):
                MODEL.steps = steps
                client.ask(str(n))
                error = await client.end(str(n))
                assert (error["code"], error["retry_after"]) == ("model_unavailable", 5)
                assert usher.events(error["audit_id"])[-1]["outcome"] == "model_unavailable"

    usher.run(work())


def test_nothing_is_answered_that_cannot_be_recorded(usher: World) -> None:
    """Neither a question, nor a part of an answer, nor a look at an old one."""
    log: Any = usher.services.ledger._log

    async def fill() -> None:
        log.full = True

    async def work() -> None:
        async with chatting(usher) as client:
            MODEL.steps = [FIRST]
            client.ask("whole")
            audit_id = (await client.end("whole"))["audit_id"]
            MODEL.steps = [FIRST, 0.1, fill, "Not recorded, not shown. "]
            client.ask("cut")
            assert (await client.end("cut"))["code"] == "unrecorded"
            assert client.said("cut") in FIRST
            client.ask("refused")
            assert (await client.end("refused"))["code"] == "unrecorded"
            client.say("resume", id="again", audit_id=audit_id, after=0)
            assert (await client.end("again"))["code"] == "unrecorded"
            assert not client.deltas("again")
            log.full = False

    usher.run(work())


def test_nobody_is_let_in_who_cannot_be_recorded(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told to come again."""

    async def full(user: str) -> str:
        raise LedgerUnavailable("its disk is full")

    monkeypatch.setattr(usher.services.ledger, "pseudonym", full)

    async def work() -> Client:
        async with connected(usher) as client:
            client.say("auth", key=usher.keys["bob"])
            assert await client.over() == 1013
        return client

    error = usher.run(work()).got[-1]
    assert (error["code"], error["retry_after"]) == ("unrecorded", 5)


@pytest.mark.parametrize("where", ["admit", "again"])
def test_what_nobody_expected_is_logged_and_told_without_its_words(
    usher: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """While somebody comes in, or after that."""

    async def fails(_: object) -> None:
        raise RuntimeError("SELECT zanzibar")

    monkeypatch.setattr(usher.services.authority, where, fails)

    async def work() -> Client:
        async with connected(usher) as client:
            client.say("auth", key=usher.keys["bob"])
            assert await client.over() == 1011
        return client

    with structlog.testing.capture_logs() as logged:
        client = usher.run(work())
    assert "unexpected" in [line["event"] for line in logged]
    assert client.got[-1]["code"] == client.reason == "failed"
    assert "zanzibar" not in str(client.got)


def test_a_server_that_stops_tells_everybody(tmp_path: Path) -> None:
    """Answers end recorded, each with its last frame; then the reason and the close. Who comes later is told so too."""
    MODEL.steps = SILENT
    with world(tmp_path, model=MODEL) as usher:
        usher.run(_stopped(usher))


async def _stopped(usher: World) -> None:
    async with chatting(usher) as busy, chatting(usher, "alice") as idle:
        busy.ask()
        await busy.until("delta")
        async with chatting(usher) as gone:
            gone.ask()
            audit_id = (await gone.until("route"))["audit_id"]
            await gone.until("delta")
            await gone.leave(1006)
        await usher.services.live.drain()
        for client in (busy, idle):
            assert await client.over() == 1001
            assert client.got[-1]["code"] == "server_stops"
        assert (busy.got[-2]["type"], busy.got[-2]["outcome"]) == ("done", "cancelled")
        for id in (audit_id, busy.got[-2]["audit_id"]):
            assert usher.events(id)[-1]["outcome"] == "cancelled"
        async with connected(usher) as late:
            late.say("auth", key=usher.keys["bob"])
            assert await late.over() == 1001
