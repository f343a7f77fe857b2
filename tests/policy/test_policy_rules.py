"""Rules as values: their ids, their digest, and the file they come from."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from tests.policy.worlds import MARKS, World, worlds

from usher_policy.oracle import model_text
from usher_policy.rules import Permission, RuleFileError, Rules, parse_rules
from usher_policy.vocabulary import Action, Effect

FILE = """\
# comment
p, role:a, coll:a, document.read, allow, always

g , user:x,role:a
"""


def test_rules_carry_the_lines_they_stand_on() -> None:
    """Line numbers count every line of the file, and are no part of a rule's identity."""
    rules = parse_rules(FILE)
    assert [rule.line for rule in rules.permissions] == [2]
    assert [link.line for link in rules.links] == [4]
    assert rules.permissions[0] == Permission("role:a", "coll:a", Action.DOCUMENT_READ, Effect.ALLOW, "always")


def test_an_id_is_the_rules_own() -> None:
    """It stays when lines move, and changes with any field."""
    first, moved = parse_rules(FILE).permissions[0], parse_rules("\n\n" + FILE).permissions[0]
    assert first.id == moved.id == "676325c1aa1b"
    assert parse_rules(FILE.replace("allow", "deny")).permissions[0].id != first.id


@settings(max_examples=settings().max_examples // 5, deadline=None, database=None)
@given(worlds())
def test_the_canonical_file_gives_the_same_rules_back(world: World) -> None:
    """What is written can be read, whatever the names, and has the same digest in any order."""
    broken = ("gone", "Mars", MARKS[-1])  # two conditions and a name that lint rejects
    kept = [rule for rule in world.rules.permissions if not any(word in rule.canonical for word in broken)]
    rules = Rules(tuple(dict.fromkeys(kept)), tuple(dict.fromkeys(world.rules.links[:3])))
    again = parse_rules(rules.to_csv())
    assert set(again.permissions) == set(rules.permissions)
    assert set(again.links) == set(rules.links)
    mixed = random.Random(1).sample(rules.permissions, len(rules.permissions))  # noqa: S311  (no secret is drawn)
    assert Rules(tuple(mixed), rules.links).digest == again.digest == rules.digest


def test_a_rejected_file_names_the_first_error() -> None:
    """The exception's text has line, message and remedy, and how many more there are."""
    with pytest.raises(RuleFileError, match=r"line 1: effect 'Deny' .*; write allow or deny \(and 1 more\)"):
        parse_rules("p, role:a, coll:a, document.read, Deny, always\nx")


def test_the_model_comes_with_the_package() -> None:
    """It is data of the package, no setting, and the one that everything is compiled for."""
    assert "m = r.act == p.act && cond(p.cond, p.eft, r.ctx) && g2(r.obj, p.obj) && g(r.sub, p.sub)" in model_text()
    assert "e = some(where (p.eft == allow)) && !some(where (p.eft == deny))" in model_text()
