"""What it costs to judge every adapter for one request: a thousand of them, each with ten thousand documents learned.

`figures()` is a part of the gateway's bench; alone:

    python tests/bench/gateway_eligibility.py
"""

from __future__ import annotations

import gc
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from uuid import UUID

from usher_lora.eligibility import Candidate, Eligibility, Judged
from usher_policy.catalog import Catalog
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import scope
from usher_policy.rules import Permission, RoleLink, Rules
from usher_policy.vocabulary import Action, Effect, Principal

ADAPTERS, LINEAGE, DOCUMENTS, CLASSES, ROLES = 1_000, 10_000, 50_000, 1_000, 50
READABLE = 0.9
"""Of the classes, by each role. An adapter learns from the classes of one role, and a tenth of them from two."""
OFFICE = "time:days=mon-fri;from=08:00;to=18:00;zone=Europe/Berlin"
NOW = Context(datetime(2026, 1, 5, 12, tzinfo=UTC))


def figures() -> dict[str, float]:
    """`eligibility_1000_p50_us`: one call for one of a hundred people, who have asked before. `_cold_us`: the label of
    one document that a fifth of the adapters learned has changed, and the call after that. `_people_us`: the call for
    somebody new, of roles that nobody had before. `eligible`: how many of the thousand, in the middle."""
    world = _World()
    people = [world.person(n) for n in range(100)]
    for ask in people:
        ask()
    warm = [_timed(ask) for _ in range(20) for ask in people]
    cold = [_timed(lambda ask=ask, n=n: (world.relabel(n), ask())) for n, ask in enumerate(people)]  # type: ignore[misc]  # bound at once
    new = [_timed(world.person(n)) for n in range(100, 150)]
    return {
        "eligibility_1000_p50_us": round(median(warm), 1),
        "eligibility_1000_p99_us": round(sorted(warm)[int(len(warm) * 0.99)], 1),
        "eligibility_1000_cold_us": round(median(cold), 1),
        "eligibility_1000_people_us": round(median(new), 1),
        "eligibility_1000_eligible": float(median(len(ask().eligible) for ask in people)),
        "eligibility_1000_take_in_ms": round(world.take_in_ms, 2),
    }


class _World:
    """Half of the rights to use are for everybody, half for half of the roles; one in ten waits for office hours."""

    def __init__(self) -> None:
        chance = self._chance = random.Random(7)  # noqa: S311  # a load, no secret
        collections = [f"coll:c{n}" for n in range(CLASSES)]
        names = [f"role:r{n}" for n in range(ROLES)]
        reads = {role: chance.sample(range(CLASSES), int(CLASSES * READABLE)) for role in names}
        rules = [_allow(role, collections[n], Action.DOCUMENT_READ) for role in names for n in reads[role]]
        for n in range(ADAPTERS):
            for role in names if n % 2 else chance.sample(names, ROLES // 2):
                rules.append(_allow(role, f"adapter:a{n}", Action.ADAPTER_USE, OFFICE if n % 10 == 0 else "always"))
        links = [RoleLink(f"user:u{n}", role) for n in range(150) for role in chance.sample(names, 1 + n % 3)]
        catalog = Catalog(1, {n + 1: frozenset({collections[n]}) for n in range(CLASSES)})
        self._snapshot = compile_snapshot(1, Rules(tuple(rules), tuple(links)), catalog)
        self._ids = [UUID(int=n + 1) for n in range(DOCUMENTS)]
        self._classes = {one: (chance.randrange(CLASSES) + 1,) for one in self._ids}
        self._shelves: dict[int, list[UUID]] = {n + 1: [] for n in range(CLASSES)}
        for one, (number,) in self._classes.items():
            self._shelves[number].append(one)
        self._adapters = Eligibility()
        spent = [self._publish(n, reads[chance.choice(names)]) for n in range(ADAPTERS)]
        self.take_in_ms = median(spent) / 1_000

    def _publish(self, n: int, readable: list[int]) -> float:
        """An adapter of ten thousand documents that one role may read; microseconds."""
        inside = frozenset(number + 1 for number in self._chance.sample(readable, 300))
        learned = [one for number in inside for one in self._shelves[number]]
        learned = self._chance.sample(learned, min(LINEAGE, len(learned)))
        learned += self._chance.sample(self._ids, LINEAGE - len(learned)) if n % 10 == 0 else []
        trained = {self._classes[one][0] for one in learned}
        candidate = Candidate(f"a{n}@1", f"adapter:a{n}", frozenset(learned), trained)
        return _timed(lambda: self._adapters.add(candidate, self._classes))

    def person(self, n: int) -> Callable[[], Judged]:
        """What one request of theirs asks: all adapters, with the names of those that are eligible."""
        who, shared = Principal(f"user:u{n}"), self._snapshot

        def ask() -> Judged:
            seen = self._adapters.judge(scope(shared, who, NOW).classes, [shared], [who], NOW)
            assert seen.eligible is not None
            return seen

        return ask

    def relabel(self, n: int) -> None:
        self._adapters.relabel({self._ids[n]: (self._chance.randrange(CLASSES) + 1,)})


def _allow(sub: str, obj: str, act: Action, cond: str = "always") -> Permission:
    return Permission(sub, obj, act, Effect.ALLOW, cond)


def _timed(work: Callable[[], object]) -> float:
    """Microseconds, without the collection of what others left."""
    gc.disable()
    began = time.perf_counter()
    work()
    spent = time.perf_counter() - began
    gc.enable()
    return spent * 1e6


if __name__ == "__main__":
    print("RESULT", json.dumps(figures()))
