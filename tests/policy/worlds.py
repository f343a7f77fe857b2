"""Random rule sets, catalogs and principals, and their comparison with Casbin's own answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import strategies as st

from usher_policy.catalog import Catalog, readers_digest
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import may, scope
from usher_policy.oracle import Oracle
from usher_policy.rules import Permission, RoleLink, Rules
from usher_policy.vocabulary import Action, Effect, Principal, typed

HOSTILE = ["a,b", 'q"uote', "new\nline", "100%", "\u0440aypal", "e\u0301", "eval(x)", "[x]", "#", " edge ", "R" * 200]
USERS = ["user:alice", "user:bob", typed("user", "x, coll:a"), typed("user", "\u200bbob")]
GROUPS = ["group:staff", *(typed("group", raw) for raw in HOSTILE[:4])]
ROLES = [f"role:r{level}" for level in range(12)]
COLLECTIONS = ["coll:a", "coll:a/b", "coll:a/b/c", "coll:ab", "coll:a/bc", typed("coll", "a/" + "ü,"), "coll:d"]
MARKS = ["mark:pii", "mark:mnpi", typed("mark", HOSTILE[4])]
CONDITIONS = [
    "always",
    "always",
    "always",
    "time:days=mon-fri;from=09:00;to=17:00;zone=Europe/Berlin",
    "time:days=sat+sun;from=00:00;to=24:00;zone=America/New_York",
    "purpose:is=audit",
    "purpose:is=support",
    "gone:is=x",
    "time:days=mon-fri;from=09:00;to=17:00;zone=Mars/Base",
]
CONTEXTS = [
    Context(datetime(2026, 3, 30, 8, 30, tzinfo=UTC)),
    Context(datetime(2026, 3, 28, 23, 0, tzinfo=UTC), "audit"),
    Context(datetime(2026, 3, 30, 3, 59, tzinfo=UTC), "support"),
]


@dataclass(frozen=True)
class World:
    """Everything that decides: rules, catalog and the people who ask."""

    rules: Rules
    catalog: Catalog
    principals: tuple[Principal, ...]


def _links() -> st.SearchStrategy[list[RoleLink]]:
    down = st.tuples(st.integers(0, 10), st.integers(1, 11)).filter(lambda pair: pair[0] < pair[1])
    between = st.builds(lambda pair: RoleLink(ROLES[pair[0]], ROLES[pair[1]]), down)
    into = st.builds(RoleLink, st.sampled_from(USERS + GROUPS), st.sampled_from(ROLES[:3]))
    chain = st.sampled_from([2, 4, 9, 10, 11]).map(lambda end: [RoleLink(a, b) for a, b in pairwise(ROLES[: end + 1])])
    scattered = st.lists(between, max_size=6)
    return st.tuples(st.lists(into, min_size=3, max_size=9), st.one_of(scattered, chain)).map(
        lambda two: two[0] + two[1]
    )


def _permissions(lists: list[str]) -> st.SearchStrategy[Permission]:
    subjects = st.one_of(*map(st.sampled_from, (ROLES[:3], ROLES[:4], ROLES[7:], GROUPS, USERS)))
    reading = st.tuples(
        st.sampled_from(COLLECTIONS[:2] * 2 + COLLECTIONS + MARKS * 2 + lists), st.just(Action.DOCUMENT_READ)
    )
    other = st.sampled_from([("adapter:support", Action.ADAPTER_USE), ("coll:a", Action.DOCUMENT_INGEST)])
    targets = st.one_of(reading, reading, reading, other)
    effects = st.sampled_from([Effect.ALLOW] * 4 + [Effect.DENY])
    return st.builds(
        lambda sub, target, eft, cond: Permission(sub, target[0], target[1], eft, cond),
        subjects,
        targets,
        effects,
        st.sampled_from(CONDITIONS),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Nested roles and collections, groups, denies, conditions, reader lists, markings, hostile names."""
    listed = draw(st.lists(st.sets(st.sampled_from(USERS + GROUPS + ROLES), max_size=3), min_size=1, max_size=3))
    readers = {readers_digest(subjects): frozenset(subjects) for subjects in listed}
    names = st.sampled_from(COLLECTIONS + MARKS + list(readers))
    classes = draw(st.lists(st.frozensets(names, max_size=3), min_size=5, max_size=12, unique=True))
    permissions = draw(st.lists(_permissions(list(readers)), min_size=6, max_size=26))
    groups = draw(
        st.lists(st.frozensets(st.sampled_from(GROUPS), max_size=3), min_size=len(USERS), max_size=len(USERS))
    )
    principals = tuple(Principal(user, known) for user, known in zip(USERS, groups, strict=True))
    catalog = Catalog(1, dict(enumerate(classes)), readers)
    return World(Rules(tuple(permissions), tuple(draw(_links()))), catalog, principals)


@dataclass
class Tally:
    """How many answers were compared, and how many of them were yes."""

    enforced: int = 0
    allowed: int = 0
    documents: int = 0
    readable: int = 0


def disagreements(world: World, tally: Tally) -> Iterator[str]:
    """Each question that the snapshot answers unlike Casbin."""
    snapshot = compile_snapshot(1, world.rules, world.catalog)
    oracle = Oracle(world.rules, world.catalog, world.principals)
    reading = [(name, Action.DOCUMENT_READ) for name in (*COLLECTIONS, *MARKS, *world.catalog.readers)]
    questions = [*reading, ("adapter:support", Action.ADAPTER_USE), ("coll:a/b", Action.DOCUMENT_INGEST)]
    for principal in world.principals:
        for context in CONTEXTS:
            truth: dict[str, bool] = {}
            for obj, action in questions:
                expected = oracle.enforce(principal, obj, action, context)
                answer = may(snapshot, principal, obj, action, context).allowed
                tally.enforced += 1
                tally.allowed += expected
                if action == Action.DOCUMENT_READ:
                    truth[obj] = expected
                if answer != expected:
                    yield f"{principal} {action} {obj}: Casbin {expected}, snapshot {answer}"
            found = scope(snapshot, principal, context).classes
            for number, names in world.catalog.classes.items():
                owned = any(not name.startswith("mark:") for name in names)
                expected = number != 0 and owned and all(truth[name] for name in names)
                tally.documents += 1
                tally.readable += expected
                if (number in found) != expected:
                    yield f"{principal} class {number} {sorted(names)}: Casbin {expected}"
