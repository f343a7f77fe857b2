"""Casbin's published role-based examples, told again with shelves of documents: its published answers come out.

`read` is `document.read` there and here, `write` is `document.ingest`; what is Casbin's resource group is a collection
with others below it. Each table stands for the cases of the library's own test of that example.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from usher_policy.catalog import Catalog
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import may, roles_of
from usher_policy.oracle import Oracle
from usher_policy.rules import parse_rules
from usher_policy.vocabulary import Action, Principal

VERBS = {"read": Action.DOCUMENT_READ, "write": Action.DOCUMENT_INGEST}
SHELVES = {"one": "coll:archive/one", "two": "coll:archive/two"}
NOW = Context(datetime(2026, 1, 5, 12, tzinfo=UTC))


@dataclass(frozen=True)
class Example:
    """Rules, the groups of Nora and Tom, and what they may, as `person shelf verb`. All else they may not."""

    rules: str
    allowed: frozenset[str]
    nora: frozenset[str] = frozenset()
    tom: frozenset[str] = frozenset()


OWN = """\
p, user:nora, coll:archive/one, document.read, allow, always
p, user:tom, coll:archive/two, document.ingest, allow, always
"""
KEEPER = """\
p, role:keeper, coll:archive/two, document.read, allow, always
p, role:keeper, coll:archive/two, document.ingest, allow, always
"""

EXAMPLES = {
    "basic": Example(OWN, frozenset({"nora one read", "tom two write"})),
    "without a policy": Example("", frozenset()),
    "roles": Example(
        OWN + KEEPER + "g, user:nora, role:keeper\n",
        frozenset({"nora one read", "nora two read", "nora two write", "tom two write"}),
    ),
    "roles with deny": Example(
        OWN + KEEPER + "p, user:nora, coll:archive/two, document.ingest, deny, always\ng, user:nora, role:keeper\n",
        frozenset({"nora one read", "nora two read", "tom two write"}),
    ),
    "a user is allowed what their role is denied": Example(
        OWN + "p, role:keeper, coll:archive/one, document.read, deny, always\ng, user:nora, role:keeper\n",
        frozenset({"tom two write"}),
    ),
    "roles of resources": Example(
        OWN + "p, role:archivist, coll:archive, document.ingest, allow, always\ng, user:nora, role:archivist\n",
        frozenset({"nora one read", "nora one write", "nora two write", "tom two write"}),
    ),
    "a hierarchy of roles": Example(
        OWN
        + KEEPER
        + "p, role:clerk, coll:archive/one, document.read, allow, always\n"
        + "p, role:clerk, coll:archive/one, document.ingest, allow, always\n"
        + "g, user:nora, role:head\ng, role:head, role:clerk\ng, role:head, role:keeper\n",
        frozenset({"nora one read", "nora one write", "nora two read", "nora two write", "tom two write"}),
    ),
    "groups": Example(
        OWN + KEEPER + "g, group:night, role:keeper\n",
        frozenset({"nora one read", "nora two read", "nora two write", "tom two write"}),
        nora=frozenset({"group:night"}),
    ),
    "groups that are denied": Example(
        OWN + KEEPER + "g, group:night, role:keeper\np, group:guest, coll:archive/two, document.ingest, deny, always\n",
        frozenset({"nora one read", "nora two read", "tom two write"}),
        nora=frozenset({"group:night", "group:guest"}),
    ),
}


def people(example: Example) -> dict[str, Principal]:
    return {"nora": Principal("user:nora", example.nora), "tom": Principal("user:tom", example.tom)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_casbins_example_gives_casbins_answers(name: str) -> None:
    """From the snapshot, and from Casbin over the same rules."""
    example = EXAMPLES[name]
    rules = parse_rules(example.rules)
    snapshot = compile_snapshot(1, rules, Catalog())
    oracle = Oracle(rules, Catalog(), people(example).values())
    said, enforced = set(), set()
    for person, principal in people(example).items():
        for shelf, obj in SHELVES.items():
            for verb, action in VERBS.items():
                question = f"{person} {shelf} {verb}"
                said |= {question} if may(snapshot, principal, obj, action, NOW).allowed else set()
                enforced |= {question} if oracle.enforce(principal, obj, action, NOW) else set()
    assert said == enforced == example.allowed


def test_the_roles_of_casbins_hierarchy_are_inherited() -> None:
    """Nora's are three, Tom has none."""
    example = EXAMPLES["a hierarchy of roles"]
    snapshot = compile_snapshot(1, parse_rules(example.rules), Catalog())
    nora, tom = people(example).values()
    assert roles_of(snapshot, nora) == ("role:clerk", "role:head", "role:keeper")
    assert roles_of(snapshot, tom) == ()
