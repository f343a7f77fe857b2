"""Documents whose readers were worked out by hand, against the snapshot and against Casbin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from usher_policy.catalog import Catalog, readers_digest, requirements
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import scope
from usher_policy.oracle import Oracle
from usher_policy.rules import parse_rules
from usher_policy.vocabulary import Principal

TABLE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "truth_table.yaml").read_text(encoding="utf-8"))
NAMES = [document["name"] for document in TABLE["documents"]]
PEOPLE = {name: Principal(f"user:{name}", frozenset(groups)) for name, groups in TABLE["people"].items()}
RULES = parse_rules(TABLE["rules"])
CONTEXT = Context(TABLE["now"])


def _catalog() -> Catalog:
    classes, readers = {}, {}
    for number, document in enumerate(TABLE["documents"], start=1):
        listed = document.get("readers")
        classes[number] = requirements(document.get("collection"), listed, document.get("markings", []))
        if listed is not None:
            readers[readers_digest(listed)] = frozenset(listed)
    return Catalog(1, classes, readers)


CATALOG = _catalog()


def test_the_table_is_whole() -> None:
    """At least twelve documents, each with its reason."""
    assert len(NAMES) >= 12
    assert all(document["why"] for document in TABLE["documents"])


@pytest.mark.parametrize("name", NAMES)
def test_the_snapshot_agrees_with_the_table(name: str) -> None:
    """Exactly the people of the table have the document in their scope."""
    number = NAMES.index(name) + 1
    snapshot = compile_snapshot(1, RULES, CATALOG)
    found = [who for who, principal in PEOPLE.items() if number in scope(snapshot, principal, CONTEXT).classes]
    assert found == TABLE["documents"][number - 1]["readers_are"]


@pytest.mark.parametrize("name", NAMES)
def test_casbin_agrees_with_the_table(name: str) -> None:
    """The oracle itself says what was worked out by hand."""
    number = NAMES.index(name) + 1
    oracle = Oracle(RULES, CATALOG, PEOPLE.values())
    found = [who for who, p in PEOPLE.items() if oracle.readable(p, CATALOG.classes[number], CONTEXT)]
    assert found == TABLE["documents"][number - 1]["readers_are"]
