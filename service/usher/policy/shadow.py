"""The shadow check: what was decided is asked of Casbin itself, afterwards, beside everything else.

The snapshot is promised to answer as Casbin's `enforce` does. Here a sample of what it answered is held against that
promise, in a process that waits its turn: one recorded decision in `EVERY` as far as there is time for it, and each
policy version of more than `MOST_RULES` rules by `QUESTIONS` questions once it is in force, since Casbin looks at every
rule for every question. A difference is an alarm, a figure and an event in the record. Nothing waits for any of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from usher.authority import Authority, Grant
from usher.ledger.record import Entry, EventType
from usher.policy.shadow_samples import of_grant, of_snapshot, size_of
from usher.ports import Policies
from usher.ports.shadow import Asked, Casbin, CasbinFailed, Sample

EVERY = 8
"""Of so many recorded decisions one is asked."""
WAITING = 64
"""Decisions that wait for their turn; more are dropped, and counted."""
MOST_RULES = 50_000
LOOK = 5.0
"""Seconds between two looks at which policy version is in force."""
BACKOFF = (1.0, 60.0)
"""Seconds until Casbin's process is started again after a failure, and the most of them."""

_log = structlog.stdlib.get_logger("usher.shadow")


@dataclass(slots=True)
class Figures:
    """Since the start of the process: questions that Casbin answered, decisions that found no place or no answer, and
    answers that differed. `off` while there are too many rules for single decisions."""

    asked: int = 0
    dropped: int = 0
    differed: int = 0
    off: bool = False


class Recorder(Protocol):
    """What the check needs of the ledger."""

    async def append(self, entries: Sequence[Entry]) -> object: ...


class Shadow:
    """`note` what was decided; `run` as long as the process serves."""

    def __init__(
        self,
        casbin: Casbin,
        policies: Policies,
        authority: Authority,
        ledger: Recorder,
        most_rules: int = MOST_RULES,
    ) -> None:
        self._casbin = casbin
        self._policies = policies
        self._authority = authority
        self._ledger = ledger
        self._most_rules = most_rules
        self._noted = 0
        self._waiting: deque[tuple[Grant, bool, str]] = deque()
        self._some = asyncio.Event()
        self._version: tuple[int, str] | None = None
        self._told: set[tuple[int | None, str]] = set()
        self._failures = 0
        self.figures = Figures()

    def state(self) -> str:
        """ "ok", or that single decisions are not asked and why."""
        return f"off above {self._most_rules:,} rules; each activation is checked instead" if self.figures.off else "ok"

    def note(self, grant: Grant, allowed: bool, exchange: str) -> None:
        """A decision on `chat.ask` that is recorded and answered, with the scope that went with it. Takes microseconds
        and raises nothing."""
        self._noted += 1
        if self.figures.off or self._noted % EVERY != 1:
            return
        if len(self._waiting) >= WAITING:
            self.figures.dropped += 1
            return
        self._waiting.append((grant, allowed, exchange))
        self._some.set()

    async def run(self) -> None:
        """Ask what waits, one sample after the other, for ever. What fails is logged, and left."""
        try:
            while True:
                try:
                    sample = await self._next()
                    await self._look()
                    if sample is not None and not self.figures.off:
                        await self._ask([sample], narrowed=False)
                except CasbinFailed as failed:
                    await self._pause(str(failed))
                except Exception as error:  # the database or the ledger may be away
                    await self._pause(type(error).__name__)
        finally:
            await self._casbin.close()

    async def _pause(self, reason: str) -> None:
        first, most = BACKOFF
        seconds = min(first * 2**self._failures, most)
        self._failures = min(self._failures + 1, 16)
        _log.warning("shadow_failed", reason=reason, again_in=seconds)
        await asyncio.sleep(seconds)

    async def _look(self) -> None:
        """Notice a version that has come into force, and check it as a whole if it is a large one."""
        versions, snapshot = await self._authority.current()
        if (snapshot.version, snapshot.digest) == self._version or versions.policy == 0:
            return
        self._told.clear()
        large = await asyncio.to_thread(size_of, snapshot) > self._most_rules
        self.figures.off = large
        if large:
            self.figures.dropped += len(self._waiting)
            self._waiting.clear()
            _log.warning("shadow_off", policy_version=snapshot.version, most_rules=self._most_rules)
            await self._ask(await asyncio.to_thread(of_snapshot, snapshot), narrowed=True)
        self._version = (snapshot.version, snapshot.digest)

    async def _next(self) -> Sample | None:
        """What waits longest; None after `LOOK` seconds, or for a decision that is no question."""
        if not self._waiting:
            self._some.clear()
            try:
                async with asyncio.timeout(LOOK):
                    await self._some.wait()
            except TimeoutError:
                return None
        return of_grant(*self._waiting.popleft())

    async def _ask(self, samples: Sequence[Sample], narrowed: bool) -> None:
        """Samples of one policy version."""

        async def rules() -> str:
            stored = await self._policies.load(samples[0].policy_version)
            return "" if stored is None else stored.rules

        try:
            given = await self._casbin.ask(samples, rules, narrowed)
        except CasbinFailed:
            self.figures.dropped += len(samples)
            raise
        self._failures = 0
        for sample, answers in zip(samples, given, strict=True):
            self.figures.asked += len(answers)
            for asked, answer in zip(sample.asked, answers, strict=True):
                if answer != asked.said:
                    await self._differed(sample, asked, answer)

    async def _differed(self, sample: Sample, asked: Asked, answer: bool) -> None:
        """Alarm and record; each access class or action once for each policy version, and every one in the figures."""
        self.figures.differed += 1
        if (place := (asked.access_class, asked.action)) in self._told:
            return
        self._told.add(place)
        body = difference(sample, asked, answer)
        _log.critical("shadow_difference", **{key: body[key] for key in ("exchange", "policy_version", "access_class")})
        await self._ledger.append([Entry(EventType.POLICY, body=body)])


def difference(sample: Sample, asked: Asked, answer: bool) -> dict[str, object]:
    """What the record says of a difference: ids and versions. The question itself stands in the exchange's events."""
    effects = {True: "allow", False: "deny"}
    return {
        "act": "shadow_difference",
        "exchange": sample.exchange,
        "policy_version": sample.policy_version,
        "policy_digest": sample.policy_digest,
        "label_version": sample.label_version,
        "action": asked.action,
        "access_class": asked.access_class,
        "rules": list(asked.rules),
        "said": effects[asked.said],
        "casbin": effects[answer],
    }
