"""What decisions cost, what a change of policy costs, how well a scope of many classes travels, and how soon three
servers go by a change.

    make bench-policy

The last line is `RESULT {json}` with every figure by name.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import cedarpy
from policy_replicas import replica_figures
from policy_worlds import Company, company
from tests.backends.store_kit import ASKED, IDENTITY, random_points, vector

from usher.backends.store_edge import EdgeStore
from usher.ports import StoreBatch
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import may, scope
from usher_policy.impact import impact
from usher_policy.lint import lint
from usher_policy.oracle import Oracle
from usher_policy.rules import Permission, Rules, read_rules
from usher_policy.vocabulary import Action, Effect, Principal

Figures = dict[str, float]
NOW = Context(datetime(2026, 1, 5, 12, tzinfo=UTC))
READ = Action.DOCUMENT_READ
POINTS = 10_000
CLASSES = 50


def main() -> None:
    figures: Figures = {}
    parts: tuple[tuple[str, Callable[[], Figures]], ...] = (
        ("rules_10k", rules_10k),
        ("rules_1m", lambda: beside(rules_1m)),
        ("scope", scopes),
        ("replicas", replica_figures),
    )
    for name, part in parts:
        began = time.perf_counter()
        made = part()
        print(f"{name}: {time.perf_counter() - began:.0f} s", *(f"{k} {v:g}" for k, v in made.items()), sep="\n  ")
        figures |= made
    print("RESULT", json.dumps(figures))


def rules_10k() -> Figures:
    """Ten thousand rules, a thousand people: one decision, warm; Casbin and Cedar asked the same, in the same run."""
    world = company(10_000, 300, 1_000, 2_000)
    snapshot = compile_snapshot(1, world.rules, world.catalog)
    asked = questions(world, 200)
    oracle = Oracle(world.rules, world.catalog, [])
    cedar = Cedar(world)
    ours = [may(snapshot, who, what, READ, NOW).allowed for who, what in asked]
    assert ours == [oracle.enforce(who, what, READ, NOW) for who, what in asked]
    assert ours == [cedar.allows(who, what) for who, what in asked]
    decide = each(asked, lambda who, what: may(snapshot, who, what, READ, NOW), 50)
    return {
        "rules_10k.decide_warm_p50_us": round(decide, 2),
        "rules_10k.scope_warm_p50_us": round(each(asked, lambda who, _: scope(snapshot, who, NOW), 50), 2),
        "rules_10k.vs_casbin_enforce": round(
            each(asked[:40], lambda a, b: oracle.enforce(a, b, READ, NOW), 1) / decide
        ),
        "rules_10k.vs_cedarpy": round(each(asked[:40], cedar.allows, 1) / decide),
    }


def questions(world: Company, count: int) -> list[tuple[Principal, str]]:
    chance = random.Random(3)  # noqa: S311  # a load, no secret
    people = [Principal(person.user or "") for person in chance.sample(world.people, count)]
    return [(who, chance.choice(world.rules.permissions).obj) for who in people]


def each(asked: Sequence[tuple[Principal, str]], ask: Callable[[Principal, str], object], rounds: int) -> float:
    """Microseconds of the middle one, each question asked once before."""
    took = []
    for n in range(rounds + 1):
        for who, what in asked:
            began = time.perf_counter()
            ask(who, what)
            took += [time.perf_counter() - began] if n else []
    return median(took) * 1e6


class Cedar:
    """The same rules as Cedar policies, parsed once; roles and collections are its entities' parents."""

    def __init__(self, world: Company) -> None:
        effects = {Effect.ALLOW: "permit", Effect.DENY: "forbid"}
        rules = [
            f'{effects[rule.eft]}(principal in N::"{rule.sub}", action == Action::"read", resource in N::"{rule.obj}");'
            for rule in world.rules.permissions
        ]
        parents: dict[str, list[str]] = {}
        for link in world.rules.links:
            parents.setdefault(link.member, []).append(link.role)
        names = {rule.obj for rule in world.rules.permissions} | {rule.sub for rule in world.rules.permissions}
        entities = [
            {
                "uid": {"type": "N", "id": name},
                "attrs": {},
                "parents": [{"type": "N", "id": p} for p in parents.get(name, [])],
            }
            for name in sorted(names | set(parents))
        ]
        self._rules, self._entities = (
            cedarpy.PolicySet.from_str("\n".join(rules)),
            cedarpy.Entities.from_json_str(json.dumps(entities)),
        )

    def allows(self, who: Principal, what: str) -> bool:
        request = {
            "principal": f'N::"{who.user}"',
            "action": 'Action::"read"',
            "resource": f'N::"{what}"',
            "context": {},
        }
        return bool(cedarpy.is_authorized(request, self._rules, self._entities).allowed)


def beside(part: Callable[[], Figures]) -> Figures:
    """In a process of its own, so that its memory is its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(part)


def rules_1m() -> Figures:
    """A million rules, ten thousand roles, a hundred thousand people, fifty thousand collections."""
    world = company(1_000_000, 10_000, 100_000, 50_000)
    text = world.text
    linting = timed(lambda: lint(text))[1]
    rules, reading = timed(lambda: read_rules(text))
    snapshot, compiling = timed(lambda: compile_snapshot(1, rules, world.catalog))
    after, removed = world.without(0.01)
    changed = compile_snapshot(2, after, world.catalog)
    from usher_policy.impact import Delta

    groups, judging = timed(
        lambda: impact(snapshot.book, changed.book, Delta(removed, Rules()), world.catalog, world.people)
    )
    assert groups
    line = Rules((Permission("role:r77", "coll:d1/s1/t1", READ, Effect.ALLOW, "purpose:is=audit"),))
    who = Principal("user:u1")

    def activated() -> object:
        return scope(snapshot.changed(3, "", Rules(), line), who, NOW)

    return {
        "rules_1m.lint_s": round(linting, 2),
        "rules_1m.compile_s": round(reading + compiling, 2),
        "rules_1m.impact_s": round(judging, 2),
        "rules_1m.rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "rules_1m.activate_one_line_ms": round(median(timed(activated)[1] for _ in range(5)) * 1000, 1),
    }


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    made = work()
    return made, time.perf_counter() - began


def scopes() -> Figures:
    """The same permitted points, found with a filter of fifty classes, of fifty thousand in a row, and of as many with
    gaps between."""
    within = [n * 1_000 + 1 for n in range(CLASSES)]
    asked = {"fifty": within, "contiguous": list(range(1, 50_001)), "scattered": list(range(1, 100_001, 2))}
    took = asyncio.run(_searched(within, asked))
    return {
        "scope_50k_vs_50_contiguous": round(took["contiguous"] / took["fifty"], 2),
        "scope_50k_vs_50_scattered": round(took["scattered"] / took["fifty"], 2),
    }


async def _searched(within: Sequence[int], asked: dict[str, list[int]]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        store = await EdgeStore.open(Path(folder) / "vectors", IDENTITY)
        try:
            await store.write(StoreBatch(upsert=random_points(1, POINTS, within)))
            took: dict[str, list[float]] = {name: [] for name in asked}
            for n in range(61):
                for name, classes in asked.items():
                    began = time.perf_counter()
                    await store.search(classes, vector(n), ASKED, 50)
                    took[name] += [time.perf_counter() - began] if n else []
            return {name: median(some) for name, some in took.items()}
        finally:
            await store.close()


if __name__ == "__main__":
    main()
