"""Streamed questions by many clients, each with one connection; what each waited, and what the servers cost."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_TEXT = re.compile(rb'"content": ?"[^"]')
_TOKENS = re.compile(rb'"completion_tokens": ?(\d+)')
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Target:
    """A server that speaks OpenAI's API. `keys`: of its clients, who take turns with them; `pids`: what it consists of
    (with all their children), whose time counts. `models`: what clients ask for by turns, where it is not `model`;
    `before`: messages before the question; `more`: further fields of a request; `lengths`: `max_tokens` by turns."""

    name: str
    port: int
    model: str
    keys: Sequence[str]
    pids: Sequence[int] = ()
    models: Sequence[str] = ()
    before: Sequence[Mapping[str, str]] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    lengths: Sequence[int] = ()


@dataclass
class Seen:
    """What some rounds of one target gave. `tokens`: of its answers, as far as it counted them."""

    first_ms: list[float] = field(default_factory=list)
    requests: int = 0
    tokens: int = 0
    cpu: float = 0.0
    seconds: float = 0.0

    def __iadd__(self, other: Seen) -> Seen:
        self.first_ms += other.first_ms
        self.requests += other.requests
        self.tokens += other.tokens
        self.cpu += other.cpu
        self.seconds += other.seconds
        return self

    def percentile(self, which: float) -> float:
        return float(np.percentile(self.first_ms, which))

    @property
    def per_core(self) -> float:
        """Streamed requests for each second of the server's processor time."""
        return self.requests / self.cpu


def added(name: str, through: Seen, bare: Seen) -> dict[str, float]:
    """What a server in between adds to the wait for the first text."""
    return {f"{name}_p{which}_ms": round(through.percentile(which) - bare.percentile(which), 2) for which in (50, 99)}


async def asked(target: Target, in_flight: int, requests: int, spread: float = 0.0) -> Seen:
    """So many requests, so many of them at a time; the first of each client within so many seconds. Without them all
    clients ask at once, and again whenever answers of one length end."""
    left, seen = iter(range(requests)), Seen()

    async def client(number: int) -> None:
        await asyncio.sleep(spread * number / in_flight)
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port, limit=1 << 20)
        for one in left:
            first_ms, tokens = await _answer(reader, writer, target, number, one)
            seen.first_ms.append(first_ms)
            seen.tokens += tokens
        writer.close()

    before, began = cpu_seconds(target.pids), time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(in_flight)))
    seen.seconds = time.perf_counter() - began
    seen.cpu, seen.requests = cpu_seconds(target.pids) - before, requests
    return seen


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Target, client: int, one: int
) -> tuple[float, int]:
    """Milliseconds to the first text of one answer, which is read to its end, and its tokens (0: not told)."""
    question = f"What is the budget of the year, and what is it spent on? Ask {client}-{one}."
    body = json.dumps(
        {
            "model": target.models[client % len(target.models)] if target.models else target.model,
            "stream": True,
            "messages": [*target.before, {"role": "user", "content": question}],
            **target.more,
            **({"max_tokens": target.lengths[one % len(target.lengths)]} if target.lengths else {}),
        }
    ).encode()
    key = target.keys[client % len(target.keys)]
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    began, first, held, tokens = time.perf_counter(), 0.0, b"", 0
    writer.write(head.encode() + body)
    while not held.endswith(b"0\r\n\r\n"):
        data = await reader.read(65_536)
        if not first and _TEXT.search(held + data):
            first = time.perf_counter()
        held = held[-400:] + data if first else held + data
        if b"completion_tokens" in data and (told := _TOKENS.search(held)):
            tokens = int(told[1])
        if not data:
            raise SystemExit(f"{target.name} ended a stream: {held[-400:]!r}")
    if not first or b"[DONE]" not in held:
        raise SystemExit(f"{target.name} gave no whole answer: {held[-400:]!r}")
    return (first - began) * 1000, tokens


def cpu_seconds(pids: Sequence[int]) -> float:
    """Processor time of these processes and of all their children, in user and kernel mode."""
    return sum(_ticks(pid) for pid in _family(pids)) / _TICKS


def _family(pids: Sequence[int]) -> set[int]:
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(place.parent.name)] = int(_fields(place)[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found, grown = set(pids), True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return found


def _ticks(pid: int) -> int:
    """Of a process that lives, with its children that were waited for."""
    try:
        fields = _fields(Path(f"/proc/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(fields[n]) for n in (11, 12, 13, 14))


def _fields(place: Path) -> list[str]:
    """Those after the command's name, which may hold spaces."""
    return place.read_text().rpartition(")")[2].split()
