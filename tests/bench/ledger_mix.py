"""The load of the ledger's bench: answered exchanges of five leaves, with 8 passages and 1 kB of sealed content."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from usher.ledger.content import Subject
from usher.ledger.record import CHAT, ContentRow, Entry, EventType, Kind, Who, uuid7
from usher.ledger.sequencer import Ledger

PASSAGES = 8
QUESTION = "What does the handbook say on the notice that a supplier gives before prices rise, and who signs it? " * 2
ANSWER = "A supplier gives ninety days' notice in writing, and the head of purchasing signs the reply [1]. " * 8
"""Together with the question about 1 kB."""
ROLES = ("role:employee", "role:purchasing")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange as it is recorded while it is answered: four appends, each waited for."""

    id: str
    opening: list[Entry]
    evidence: list[Entry]
    end: list[Entry]

    async def record(self, ledger: Ledger, subject: Subject, took: Callable[[float], object]) -> None:
        """`took` gets the seconds of each append."""
        talk = subject.conversation(f"talk-{self.id}")
        question = talk.seal(self.id, 0, Kind.QUESTION, QUESTION)
        answer = talk.seal(self.id, 1, Kind.ANSWER, ANSWER)
        steps: tuple[tuple[list[Entry], list[ContentRow]], ...] = (
            (self.opening, [question]),
            (self.evidence, []),
            ([], [answer]),
            (self.end, []),
        )
        for entries, rows in steps:
            began = time.perf_counter()
            await ledger.append(entries, rows)
            took(time.perf_counter() - began)


def exchanges(pseudonym: str, seed: int = 1) -> Iterator[Exchange]:
    """Without end."""
    chance, who = random.Random(seed), Who(pseudonym, ROLES, "key")  # noqa: S311  # a load, no secret
    while True:
        ident = uuid7()
        yield Exchange(
            ident,
            [
                Entry(EventType.REQUEST, ident, who, _request(chance)),
                Entry(EventType.DECISION, ident, who, _decision()),
            ],
            [
                Entry(EventType.RETRIEVAL, ident, who, _retrieval(chance)),
                Entry(EventType.GENERATION, ident, who, _generation(chance)),
            ],
            [Entry(EventType.ANSWER, ident, who, _answer())],
        )


async def at_once(ledger: Ledger, callers: int, total: int) -> float:
    """Seconds in which so many callers, each with one exchange at a time, record all of them."""
    subject = await ledger.subject("alice")
    waiting = list(islice(exchanges(subject.pseudonym), total))
    gc.freeze()  # a million objects of the load would be looked at again and again, and are not the ledger's

    async def caller() -> None:
        while waiting:
            await waiting.pop().record(ledger, subject, lambda _: None)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return time.perf_counter() - began


async def offered(ledger: Ledger, events_per_s: int, seconds: float) -> list[float]:
    """What each append took while exchanges begin at a fixed pace, whether those before are done or not."""
    subject = await ledger.subject("alice")
    pace = 5 / events_per_s
    took: list[float] = []
    running: list[Awaitable[None]] = []
    began = time.perf_counter()
    for n, exchange in enumerate(islice(exchanges(subject.pseudonym), int(seconds / pace))):
        await asyncio.sleep(max(began + n * pace - time.perf_counter(), 0))
        running.append(asyncio.create_task(exchange.record(ledger, subject, took.append)))
    await asyncio.gather(*running)
    return took


def _uuid(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))


def _digest(chance: random.Random) -> str:
    return f"{chance.getrandbits(256):064x}"


def _request(chance: random.Random) -> dict[str, Any]:
    return {
        "operation": CHAT,
        "conversation": _uuid(chance),
        "parent": None,
        "credential_id": _uuid(chance),
        "client_turns": 0,
    }


def _decision() -> dict[str, Any]:
    return {
        "action": "chat.ask",
        "object": "sys:chat",
        "effect": "allow",
        "reason": "a rule allows it and none denies it",
        "rules": ["abcdef012345"],
        "policy_version": 17,
        "policy_digest": "5f" * 32,
        "label_version": 4711,
        "access_classes": 40,
        "scope_digest": "a7" * 32,
        "scope_rules": ["abcdef012345", "0123456789ab", "9876543210fe"],
        "valid_until": None,
        "route": {"kind": "retrieve", "reasons": ["default"]},
    }


def _retrieval(chance: random.Random) -> dict[str, Any]:
    passages = [
        {
            "document": _uuid(chance),
            "version": 1,
            "chunk": _uuid(chance),
            "digest": _digest(chance),
            "access_class": chance.randrange(1, 40),
            "rank": rank,
            "score": round(chance.random(), 4),
            "in_prompt": True,
        }
        for rank in range(1, PASSAGES + 1)
    ]
    return {
        "outcome": "found",
        "policy_version": 17,
        "label_version": 4711,
        "scope_digest": "a7" * 32,
        "passages": passages,
        "stale": 0,
        "leaks": [],
        "rewritten_by": None,
    }


def _generation(chance: random.Random) -> dict[str, Any]:
    return {
        "purpose": "answer",
        "gen_ai.request.model": "extractive",
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.request.temperature": 0.0,
        "adapter": None,
        "template": "3c" * 32,
        "prompt_commitment": _digest(chance),
        "prompt_tokens": 1500,
        "client_turns": 0,
        "history": [],
    }


def _answer() -> dict[str, Any]:
    return {
        "outcome": "answered",
        "duration_ms": 812,
        "cited": [1],
        "citations_dropped": 0,
        "removed": {},
        "finish_reason": "stop",
        "prompt_tokens": 1500,
        "completion_tokens": 120,
    }
