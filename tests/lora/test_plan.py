"""Which adapters would do: groups of roles that may read the same, what changes too fast, and what it would save."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from usher_lora.plan import HEADER, Limits, Plan, Source, plan, readable_by_roles, table
from usher_policy.catalog import Catalog
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import scope
from usher_policy.rules import Permission, RoleLink, Rules, parse_rules
from usher_policy.vocabulary import Action, Effect, Principal

NOON = Context(datetime(2026, 1, 5, 12, tzinfo=UTC))
NIGHT = Context(datetime(2026, 1, 4, 2, tzinfo=UTC))
OFFICE = "time:days=mon-fri;from=08:00;to=18:00;zone=Europe/Berlin"
RULES = parse_rules(
    f"""
p, role:support, coll:support, document.read, allow, always
p, role:desk, coll:support, document.read, allow, always
p, role:lead, coll:support, document.read, allow, always
p, role:lead, coll:extra, document.read, allow, always
p, role:lead, coll:news, document.read, allow, always
p, role:night, coll:support, document.read, allow, {OFFICE}
g, user:ann, role:support
g, user:ben, role:desk
g, user:cem, role:lead
g, user:dan, role:night
"""
)
CATALOG = Catalog(
    1,
    {
        1: frozenset({"coll:support"}),
        2: frozenset({"coll:support/faq", "mark:pii"}),
        3: frozenset({"coll:extra"}),
        4: frozenset({"coll:news"}),
    },
)
PEOPLE = [Principal(f"user:{name}") for name in ("ann", "ben", "cem", "dan", "eve")]
DOCUMENTS = [
    *(Source(UUID(int=n), 1, 10_000, 0.1) for n in range(9)),
    Source(UUID(int=20), 2, 50_000, 0.0),
    Source(UUID(int=30), 3, 10_000, 0.0),
    *(Source(UUID(int=40 + n), 4, 50_000, 2.0 * n) for n in range(2)),
]


def planned(limits: Limits | None = None) -> Plan:
    snapshot = compile_snapshot(1, RULES, CATALOG)
    return plan(snapshot, NOON, PEOPLE, DOCUMENTS, {"role:support": 100, "role:desk": 50}, limits)


def test_roles_that_may_read_the_same_share_an_adapter() -> None:
    """It is for whoever may read all that it learns, now: also for those with more, or with a condition that holds."""
    first = planned().groups[0]
    assert first.roles == ("role:desk", "role:support")
    assert [(shelf.collection, shelf.documents, shelf.tokens) for shelf in first.learns] == [
        ("coll:support", 9, 90_000)
    ]
    assert (first.people, first.train_tokens, first.classes) == (4, 270_000, (1,))
    assert (first.saved_per_question, first.saved_per_month) == (1_600, 150 * 1_600)
    assert first.doubts == ()


def test_what_changes_fast_is_left_to_retrieval() -> None:
    """By the collection, on average; what remains is less of the prompt."""
    lead = planned().groups[1]
    assert [shelf.collection for shelf in lead.to_retrieval] == ["coll:news"]
    assert lead.classes == (1, 3)
    assert lead.saved_per_question == 1_600 * 100_000 // 200_000
    slow = next(one for one in planned(Limits(fast=1.1)).groups if one.roles == ("role:lead",))
    assert slow.classes == (1, 3, 4)
    assert slow.to_retrieval == ()


def test_nearly_identical_groups_are_told_with_what_would_be_lost() -> None:
    """An adapter over what both may read: the more entitled would miss the rest."""
    (shared,) = planned().nearly
    assert shared.similarity == 0.9
    assert shared.adapter.classes == (1,)
    assert shared.adapter.people == 4
    assert {loss.roles: loss.tokens for loss in shared.losses} == {
        ("role:desk", "role:support"): 0,
        ("role:lead",): 10_000,
    }
    assert not planned(Limits(similar=0.91)).nearly


def test_a_role_whose_right_waits_for_a_condition_has_no_adapter_of_its_own() -> None:
    """What it learned it would know at night too."""
    assert all("role:night" not in one.roles for one in planned().groups)


def test_what_speaks_against_an_adapter_is_said() -> None:
    """Too little, nobody, or nothing that lasts."""
    assert planned(Limits(least_tokens=200_000)).groups[0].doubts == ("too_little_to_learn",)
    snapshot = compile_snapshot(1, RULES, CATALOG)
    assert plan(snapshot, NOON, [], DOCUMENTS[:9]).groups[0].doubts == ("nobody_could_use_it",)
    fast = [Source(UUID(int=1), 1, 90_000, 5.0)]
    (only, *_) = plan(snapshot, NOON, PEOPLE, fast).groups
    assert (only.doubts, only.people, only.classes) == (("all_of_it_changes_too_fast",), 0, ())
    assert plan(snapshot, NOON, PEOPLE, []) == Plan((), ())


def test_a_plan_is_a_table_and_json() -> None:
    """As many cells as columns, with how often each shelf changes and what a shared one would leave out; and what is
    read back is the plan."""
    made = planned()
    rows = table(made)
    assert all(len(row) == len(HEADER) for row in rows)
    assert rows[0][:5] == ("role:desk, role:support", "coll:support (0.1)", "", "4", "270,000")
    assert rows[1][1:3] == ("coll:extra (0.0), coll:support (0.1)", "coll:news (1.0)")
    assert rows[-1][-1] == "shared, 90% alike; role:lead would miss coll:extra"
    assert msgspec.json.decode(msgspec.json.encode(made), type=Plan) == made


ROLES = [f"role:r{n}" for n in range(4)]
NAMES = ["coll:a", "coll:a/b", "coll:c", "mark:x"]
PERMISSIONS = st.builds(
    Permission,
    st.sampled_from(ROLES),
    st.sampled_from(NAMES),
    st.just(Action.DOCUMENT_READ),
    st.sampled_from([Effect.ALLOW, Effect.ALLOW, Effect.DENY]),
    st.sampled_from(["always", "always", OFFICE, "purpose:is=audit"]),
)
LINKS = st.tuples(st.integers(0, 2), st.integers(1, 3)).filter(lambda pair: pair[0] < pair[1])
CLASSES = st.lists(st.frozensets(st.sampled_from(NAMES), max_size=3), min_size=1, max_size=6)


@given(st.lists(PERMISSIONS, max_size=12), st.lists(LINKS, max_size=3), CLASSES)
def test_what_a_role_reads_is_what_everybody_with_it_reads_at_any_time(
    permissions: list[Permission], links: list[tuple[int, int]], classes: list[frozenset[str]]
) -> None:
    """At every time and for every purpose that there is; and no less, where no condition takes part."""
    people = [RoleLink(f"user:{role[5:]}", role) for role in ROLES]
    roles = [RoleLink(ROLES[low], ROLES[high]) for low, high in links]
    catalog = Catalog(1, dict(enumerate(classes)))
    snapshot = compile_snapshot(1, Rules(tuple(permissions), (*people, *roles)), catalog)
    always = readable_by_roles(snapshot)
    for link in people:
        who = Principal(link.member)
        contexts = [Context(moment.now, purpose) for moment in (NOON, NIGHT) for purpose in (None, "audit")]
        scopes = [frozenset(scope(snapshot, who, context).classes) for context in contexts]
        assert all(always[link.role] <= found for found in scopes)
        if all(rule.cond == "always" for rule in permissions):
            assert always[link.role] == scopes[0]
