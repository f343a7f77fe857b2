"""What conversations, streams and sockets cost, and how soon a revocation ends them.

    make bench-conversations    (options: --kills N, --cache FILE.npz)

History, lists and the barriers' cost are taken in this process, over the real databases; revocations and sockets with
a real server in a process of its own. The last line is `RESULT {json}` with every figure by name.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, cast
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[2]))

import followups
import revocations
from tests.crash.test_shown_is_recorded import cut_off_by_kills
from tests.web.chat_kit import QUESTION, ScriptedModel, chat_scope
from tests.web.world import World, world

from usher.backends.ledger_memory import MemoryLog
from usher.backends.ledger_sql import SqlLog
from usher.backends.sql_conversations import SqlConversations
from usher.core import prompt as prompts
from usher.core.history import Asked
from usher.ledger.record import uuid7
from usher.ports import ConversationRow
from usher.threads import Place, Threads

TURNS = 100
LISTED = 10_000
STREAMS = 300
SAYS = "Every employee has twenty-eight days of holiday in a year, as the handbook says on its first page [1]. "
Figures = dict[str, float]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=30)
    options.add_argument("--cache", type=Path, default=None)
    given = options.parse_args()
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, part in (
            ("barriers", lambda path: barriers(path)),
            ("history", lambda path: history(path)),
            ("list", lambda path: listing(path)),
            ("server", lambda path: asyncio.run(revocations.measured(path))),
            ("kills", lambda path: killed(path, given.kills)),
            ("followups", lambda _: followups.shares(given.cache)),
        ):
            place = Path(folder) / name
            place.mkdir()
            found: Figures = part(place)
            print("  ".join(f"{key}={value}" for key, value in found.items()), flush=True)
            figures |= found
    print("RESULT " + json.dumps(figures))


def barriers(folder: Path) -> Figures:
    """What the record on disk adds to the time to the first token, against the same road with the record in memory:
    one stream after the other, taking turns."""
    (folder / "disk").mkdir()
    (folder / "memory").mkdir()
    in_memory = cast("Callable[[Path], SqlLog]", lambda _: MemoryLog())
    with (
        world(folder / "disk", model=ScriptedModel(SAYS)) as disk,
        world(folder / "memory", model=ScriptedModel(SAYS), log=in_memory) as memory,
    ):
        took: dict[str, list[float]] = {"disk": [], "memory": []}
        for number in range(STREAMS + 20):
            for name, usher in (("disk", disk), ("memory", memory)):
                seconds = usher.run(first_token(usher))
                if number >= 20:
                    took[name].append(seconds * 1000)
    return {
        "first_token_disk_p50_ms": round(median(took["disk"]), 2),
        "first_token_memory_p50_ms": round(median(took["memory"]), 2),
        "stream_overhead_p50_ms": round(median(took["disk"]) - median(took["memory"]), 2),
    }


async def first_token(usher: World) -> float:
    """Seconds from the request to the first text of its stream."""
    messages = [{"role": "user", "content": QUESTION}]
    body = json.dumps({"model": "assistant", "stream": True, "messages": messages}).encode()
    waiting = [{"type": "http.request", "body": body, "more_body": False}]
    gone, came = asyncio.Event(), 0.0

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal came
        if not came and b'"content":"E' in message.get("body", b""):
            came = time.perf_counter()
        if message["type"] == "http.response.body" and not message.get("more_body"):
            gone.set()

    began = time.perf_counter()
    await cast(Any, usher.app)(chat_scope(usher.bearer("bob")), receive, send)
    assert came
    return came - began


def history(folder: Path) -> Figures:
    """Finding, judging, opening and laying out the exchanges of a conversation, up to the prompt."""
    model = ScriptedModel(SAYS, 0.06, "It is so. ", 0.06, "So it is.")
    with world(folder, model=model) as usher:
        conversation = usher.run(_talk(usher))
        services = usher.services
        threads = Threads(_index(usher), services.documents, services.ledger)

        async def build() -> int:
            grant = await services.authority.admit(usher.keys["bob"])
            assert grant is not None
            subject = await services.ledger.subject("bob")
            thread = await threads.find("bob", subject, Asked(QUESTION), Place(conversation))
            earlier = await threads.earlier(grant.scope, subject, thread)
            made = prompts.assemble(
                QUESTION, (), (), prompts.TEMPLATE, 128_000, 1_000, lambda text: len(text) // 4, earlier
            )
            return len(made.earlier)

        assert usher.run(build()) == TURNS
        return {"history_100_turns_ms": timed(usher, build, 50)}


async def _talk(usher: World) -> UUID:
    conversation: UUID | None = None
    for number in range(TURNS):
        grant = await usher.services.authority.admit(usher.keys["bob"])
        assert grant is not None
        asked = Asked(f"How many days of holiday has an employee in the year {number}?")
        exchange = await usher.services.chat.begin(grant, asked, 500, 0.0, Place(conversation))
        assert [part async for part in usher.services.chat.stream(exchange)]
        conversation = exchange.thread.conversation
    assert conversation is not None
    return conversation


def listing(folder: Path) -> Figures:
    """A page of the newest 50 of many conversations, with their titles, as the route gives it."""
    with world(folder) as usher:
        usher.run(_many(usher))
        path = "/api/conversations?limit=50"

        async def page() -> int:
            response = await usher.asked("GET", path, "bob")
            assert response.status_code == 200, response.text
            return len(response.json()["conversations"])

        assert usher.run(page()) == 50
        return {"list_10k_conversations_ms": timed(usher, page, 50)}


async def _many(usher: World) -> None:
    index, subject = _index(usher), await usher.services.ledger.subject("bob")
    began = datetime.now(UTC)
    for number in range(LISTED):
        ident, at = uuid7(), began + timedelta(seconds=number)
        title = subject.conversation(ident).seal_label("title", f"Conversation {number} about holidays")
        await index.create("bob", ConversationRow(UUID(ident), at, at, title))


def _index(usher: World) -> SqlConversations:
    return cast(SqlConversations, usher.services.chat._threads._index)


def timed(usher: World, work: Callable[[], Any], times: int) -> float:
    """The median of milliseconds, one after the other in one task, as a server's requests share their threads."""

    async def all_of_them() -> list[float]:
        took = []
        for _ in range(times):
            began = time.perf_counter()
            await work()
            took.append((time.perf_counter() - began) * 1000)
        return took

    return round(median(usher.run(all_of_them())), 2)


def killed(folder: Path, times: int) -> Figures:
    """SIGKILL in the middle of streams: `shown_not_recorded` would end the run."""
    return {"kills": times, "kills_in_an_answer": cut_off_by_kills(folder, times), "shown_not_recorded": 0}


if __name__ == "__main__":
    main()
