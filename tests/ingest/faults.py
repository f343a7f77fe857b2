"""A process that fails at a chosen call of one of its ports: once, or for good, before or after the call had effect."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

PORTS = ("intake", "store", "embedder", "converter", "outbox", "ledger", "folder")
READS = {
    *("folder.read", "converter.convert", "embedder.encode", "outbox.pending"),
    *("intake.uncarried", "intake.leftovers", "intake.source", "intake.shelf"),
}
"""Calls that change nothing that outlives the process: killed after one, it leaves what it left before it."""


class Killed(Exception):
    """The failure that the test planned."""


class How(StrEnum):
    """When a call fails, and what becomes of the process."""

    ERROR_BEFORE = "error, nothing done"
    ERROR_AFTER = "error, though done"
    DEAD_BEFORE = "killed before"
    DEAD_AFTER = "killed after"
    CANCELLED = "cancelled on the way"

    @property
    def dead(self) -> bool:
        """No later call of the process has any effect."""
        return self in (How.DEAD_BEFORE, How.DEAD_AFTER)

    @property
    def effect(self) -> bool:
        return self in (How.ERROR_AFTER, How.DEAD_AFTER, How.CANCELLED)


@dataclass
class Plan:
    """Fail at the `at`-th call from now (None: at none), or at the first call of the name `only`.

    With `writes` the calls of `READS` are not counted.
    """

    at: int | None
    how: How = How.ERROR_BEFORE
    only: str | None = None
    writes: bool = False
    calls: list[str] = field(default_factory=list)
    reached: bool = False
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def wrap(self, name: str, port: Any) -> Any:
        return _Faulty(self, name, port) if name in PORTS else port

    def strikes(self, call: str) -> bool:
        """Whether this call is to fail; it is counted."""
        if self.reached:
            return self.how.dead
        if self.writes and call in READS:
            return False
        self.calls.append(call)
        self.reached = call == self.only if self.only else len(self.calls) == self.at
        return self.reached


class _Faulty:
    def __init__(self, plan: Plan, name: str, port: Any) -> None:
        self._plan, self._name, self._port = plan, name, port

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._port, attribute)
        if not callable(value) or attribute in ("count_tokens", "pseudonym", "walk", "close", "turn"):
            return value
        call = f"{self._name}.{attribute}"
        return self._later(call, value) if inspect.iscoroutinefunction(value) else self._now(call, value)

    def _now(self, call: str, value: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(value)
        def called(*args: Any) -> Any:
            if self._plan.strikes(call):
                raise Killed(call)
            return value(*args)

        return called

    def _later(self, call: str, value: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(value)
        async def called(*args: Any) -> Any:
            first = not self._plan.reached
            if not self._plan.strikes(call):
                return await value(*args)
            if self._plan.how is How.CANCELLED:
                self._plan.cancelled.set()
                await asyncio.sleep(0)
                return await value(*args)
            if first and self._plan.how.effect:
                await value(*args)
            raise Killed(call)

        return called
