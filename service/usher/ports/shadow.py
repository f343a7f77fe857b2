"""The port of the shadow check: the same question, asked of Casbin itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from usher_policy.vocabulary import Principal

LoadRules = Callable[[], Awaitable[str]]
"""The rule file of a policy version, as it is stored."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question and what was said. `names` are one object, or all that documents of the access class require."""

    names: tuple[str, ...]
    action: str
    said: bool
    access_class: int | None = None
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """Questions of one principal at one instant under one policy version. `readers` has the reader lists among them;
    `exchange` is the audit id of the decision, if the questions are about one."""

    policy_version: int
    policy_digest: str
    label_version: int
    principal: Principal
    now: datetime
    purpose: str | None
    asked: tuple[Asked, ...]
    readers: Mapping[str, Sequence[str]]
    exchange: str | None = None


class CasbinFailed(Exception):
    """Casbin gave no answer; the message says what kind of failure it was, and quotes nothing."""


class Casbin(Protocol):
    """Casbin's own `enforce`, somewhere where it keeps nobody waiting."""

    async def ask(self, samples: Sequence[Sample], rules: LoadRules, narrowed: bool) -> list[tuple[bool, ...]]:
        """Casbin's answers to the questions of each sample; they are all of one policy version. `narrowed`: given only
        those rules that could match one of the questions. Seconds to minutes: it works one part in twenty of the time.

        Raises `CasbinFailed`; then the next call starts afresh.
        """

    async def close(self) -> None:
        """Nothing of it is left."""
