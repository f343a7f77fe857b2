"""What another policy would have allowed somebody: certain only where every way to fill the gaps says the same."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from usher.core.hindsight import Hindsight, Verdict, together, would_allow, would_allow_all
from usher_policy.catalog import Catalog, readers_digest
from usher_policy.compile import Snapshot, compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import may, roles_of
from usher_policy.rules import Permission, RoleLink, Rules
from usher_policy.vocabulary import Action, Effect, Principal

AT = datetime(2026, 3, 30, 8, 30, tzinfo=UTC)
USER = "user:alice"
GROUPS = ["group:one", "group:two", "group:three"]
ROLES = ["role:a", "role:b", "role:c"]
LISTED = frozenset({"group:one", "user:alice"})
READERS = readers_digest(LISTED)
OBJECTS = ["coll:x", "coll:x/y", READERS]
PURPOSES = [None, "audit", "support"]
CONDITIONS = ["always", "always", "purpose:is=audit", "time:days=mon;from=08:00;to=12:00;zone=UTC"]
CATALOG = Catalog(1, {1: frozenset({"coll:x"}), 2: frozenset({READERS})}, {READERS: LISTED})

PERMISSIONS = st.builds(
    Permission,
    st.sampled_from([USER, *GROUPS, *ROLES]),
    st.sampled_from(OBJECTS),
    st.just(Action.DOCUMENT_READ),
    st.sampled_from([Effect.ALLOW, Effect.ALLOW, Effect.DENY]),
    st.sampled_from(CONDITIONS),
)
LINKS = st.builds(RoleLink, st.sampled_from([USER, *GROUPS, "role:a"]), st.sampled_from(["role:b", "role:c"]))
RULES = st.builds(
    lambda permissions, links: Rules(tuple(permissions), tuple(links)),
    st.lists(PERMISSIONS, max_size=6),
    st.lists(LINKS, max_size=4),
)


def compiled(rules: Rules) -> Snapshot:
    return compile_snapshot(1, rules, CATALOG)


@settings(deadline=None)
@given(RULES, RULES, st.frozensets(st.sampled_from(GROUPS)), st.sampled_from(PURPOSES), st.sampled_from(OBJECTS))
def test_a_certain_verdict_is_that_of_every_way_to_fill_the_gaps(
    before: Rules, after: Rules, groups: frozenset[str], purpose: str | None, target: str
) -> None:
    """Whoever it was, with the groups that they were in and the purpose that their key had."""
    then, other = compiled(before), compiled(after)
    whoever = Principal(USER, groups)
    both = Hindsight.of(then, other)
    recorded = both.recorded(USER, roles_of(then, whoever), AT)
    verdict = would_allow(other, recorded, Action.DOCUMENT_READ, target)
    truth = may(other, whoever, target, Action.DOCUMENT_READ, Context(AT, purpose)).allowed
    assert verdict in (Verdict.UNKNOWN, Verdict.ALLOWED if truth else Verdict.DENIED)
    assert recorded.least.groups <= groups & set(both.gives) <= recorded.most.groups


@settings(deadline=None)
@given(RULES, st.frozensets(st.sampled_from(GROUPS)))
def test_what_hangs_on_nothing_unrecorded_is_certain(rules: Rules, groups: frozenset[str]) -> None:
    """Where all memberships that fit the record, and all purposes, say the same of rules without a deny."""
    allowing = Rules(tuple(rule for rule in rules.permissions if rule.eft is Effect.ALLOW), rules.links)
    policy = compiled(allowing)
    roles = roles_of(policy, Principal(USER, groups))
    fitting = [
        Principal(USER, frozenset(some))
        for many in range(len(GROUPS) + 1)
        for some in combinations(GROUPS, many)
        if roles_of(policy, Principal(USER, frozenset(some))) == roles
    ]
    recorded = Hindsight.of(policy, policy).recorded(USER, roles, AT)
    for target in OBJECTS:
        truths = {
            may(policy, one, target, Action.DOCUMENT_READ, Context(AT, purpose)).allowed
            for one in fitting
            for purpose in PURPOSES
        }
        verdict = would_allow(policy, recorded, Action.DOCUMENT_READ, target)
        if truths == {False}:
            assert verdict is Verdict.DENIED


def test_a_document_needs_all_of_its_requirements() -> None:
    """One that is denied is enough, one that is unknown leaves it open; without any it is denied."""
    rules = Rules((Permission(USER, "coll:x", Action.DOCUMENT_READ, Effect.ALLOW, "always"),))
    policy = compiled(rules)
    recorded = Hindsight.of(policy, policy).recorded(USER, (), AT)
    found = would_allow_all(policy, recorded, {"coll:x", "mark:pii"})
    assert found == {"coll:x": Verdict.ALLOWED, "mark:pii": Verdict.DENIED}
    assert together(list(found.values())) is Verdict.DENIED
    assert together([Verdict.ALLOWED, Verdict.UNKNOWN]) is Verdict.UNKNOWN
    assert together([]) is Verdict.DENIED


def test_a_role_that_only_one_group_gave_tells_the_group() -> None:
    """And a group that would have given more than was recorded, they were not in."""
    then = compiled(Rules((), (RoleLink("group:one", "role:a"), RoleLink("group:two", "role:b"))))
    rules = (
        Permission("group:one", "coll:x", Action.DOCUMENT_READ, Effect.ALLOW, "always"),
        Permission("group:two", "coll:x/y", Action.DOCUMENT_READ, Effect.ALLOW, "always"),
    )
    other = compiled(Rules(rules))
    recorded = Hindsight.of(then, other).recorded(USER, ("role:a",), AT)
    verdicts = would_allow_all(other, recorded, ["coll:x"])
    assert (recorded.least.groups, verdicts["coll:x"]) == (frozenset({"group:one"}), Verdict.ALLOWED)
    assert "group:two" not in recorded.most.groups
    recorded = Hindsight.of(then, other).recorded(USER, ("role:b",), AT)
    assert would_allow_all(other, recorded, ["coll:x"])["coll:x"] is Verdict.DENIED
