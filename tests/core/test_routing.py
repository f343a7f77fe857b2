"""How a request is answered."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core.routing import (
    Facts,
    Route,
    RouteKind,
    Routing,
    Rule,
    UsableAdapter,
    Why,
    explain,
    route,
    with_those_above,
)


def test_a_person_who_may_not_chat_is_refused_whatever_they_may_read() -> None:
    """A refusal names its reason and nothing of the scope."""
    assert route(may_chat=False, classes=(1, 2), dropped_turns=3) == Route(RouteKind.REFUSE, ("chat_not_allowed",))


def test_an_empty_scope_is_answered_as_a_search_without_result() -> None:
    """The route is the ordinary one, so that the words are the ordinary ones."""
    assert route(may_chat=True, classes=(), dropped_turns=0) == Route(RouteKind.RETRIEVE, ("scope_empty",))


def test_turns_left_out_are_counted_in_the_reasons() -> None:
    """A client sees that its history was not used."""
    assert route(may_chat=True, classes=(4,), dropped_turns=2).reasons == ("earlier_turns_left_out:2",)


def test_an_ordinary_request_has_no_reasons() -> None:
    """Nothing to explain."""
    assert route(may_chat=True, classes=(4,), dropped_turns=0) == Route(RouteKind.RETRIEVE, ())


SUPPORT = UsableAdapter("support@1", "adapter:support", frozenset({"coll:support", "coll:support/faq"}), 3.0, 2.0)
NEWER = replace(SUPPORT, name="support@2", age_days=1.0)
SALES = UsableAdapter("sales@1", "adapter:sales", frozenset({"coll:sales"}), 1.0, 0.0)
LOOSE = UsableAdapter("loose@1", "adapter:loose", frozenset({"coll:support", None}))
HELP = Rule("help", RouteKind.BOTH, collection="coll:support")
FACTS = Facts(
    question="Which Checklist applies to the crane?",
    roles=("role:support",),
    collections=with_those_above(["coll:support/faq", "coll:sales"]),
    per_day={"role:support": 40},
    adapters=(SALES, SUPPORT, LOOSE),
)


def routed(*rules: Rule, facts: Facts = FACTS) -> Route:
    return route(may_chat=True, classes=(1,), dropped_turns=0, routing=Routing((rules,)), facts=facts)


def test_a_rule_sends_a_question_to_an_adapter() -> None:
    """To one that learned from its collection and from nothing else; the route names it, and the rule."""
    assert routed(HELP) == Route(RouteKind.BOTH, ("by_rule",), "support@1", "help")
    assert routed(replace(HELP, route=RouteKind.ADAPTER)).kind is RouteKind.ADAPTER


def test_without_an_eligible_adapter_it_is_retrieval() -> None:
    """Whether there is none or only others may use it; or what the rule says for that."""
    for adapters in ((), (SALES,)):
        facts = replace(FACTS, adapters=adapters)
        assert routed(HELP, facts=facts) == Route(RouteKind.RETRIEVE, ("no_eligible_adapter",), None, "help")
    refusing = replace(HELP, otherwise=RouteKind.REFUSE)
    expected = Route(RouteKind.REFUSE, ("refused_by_rule", "no_eligible_adapter"), None, "help")
    assert routed(refusing, facts=replace(FACTS, adapters=())) == expected


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [
        (replace(SUPPORT, age_days=31.0), "adapter_not_fresh"),
        (replace(SUPPORT, changed_percent=5.1), "adapter_not_fresh"),
        (replace(SUPPORT, served=False), "adapter_not_served"),
        (replace(SUPPORT, age_days=float("nan")), "adapter_not_fresh"),
    ],
)
def test_an_adapter_that_is_behind_or_not_served_does_not_answer(adapter: UsableAdapter, reason: str) -> None:
    """Retrieval has the facts of now."""
    rule = replace(HELP, max_age_days=30, max_changed_percent=5.0)
    assert routed(rule).adapter == "support@1"
    assert routed(rule, facts=replace(FACTS, adapters=(adapter,))) == Route(RouteKind.RETRIEVE, (reason,), None, "help")


def test_a_model_server_that_is_down_serves_no_adapter_and_is_told() -> None:
    """Also where no rule asks for one."""
    down = replace(FACTS, model_up=False)
    assert routed(HELP, facts=down).reasons == ("adapter_not_served", "model_server_down")
    assert routed(facts=down) == Route(RouteKind.RETRIEVE, ("model_server_down",))


def test_a_tie_is_told_and_broken_by_what_has_changed_least() -> None:
    """Then by age, then by name; a rule's own order comes before."""
    both = replace(FACTS, adapters=(SUPPORT, NEWER))
    assert routed(HELP, facts=both) == Route(RouteKind.BOTH, ("by_rule", "several_adapters:2"), "support@2", "help")
    fewer = replace(SUPPORT, changed_percent=1.0)
    assert routed(HELP, facts=replace(FACTS, adapters=(NEWER, fewer))).adapter == "support@1"
    ordered = Rule("any", RouteKind.ADAPTER, adapters=("adapter:sales", "adapter:support"))
    assert routed(ordered) == Route(RouteKind.ADAPTER, ("by_rule",), "sales@1", "any")


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (Rule("r", RouteKind.REFUSE, role="role:sales"), Why.ROLE),
        (Rule("r", RouteKind.REFUSE, collection="coll:sup"), Why.COLLECTION),
        (Rule("r", RouteKind.REFUSE, collection="coll:support/faq/old"), Why.COLLECTION),
        (Rule("r", RouteKind.REFUSE, role="role:support", min_per_day=41), Why.VOLUME),
        (Rule("r", RouteKind.REFUSE, words=frozenset({"check", "list"})), Why.WORDS),
        (Rule("r", RouteKind.REFUSE, words=frozenset({"checklist"})), Why.APPLIES),
        (Rule("r", RouteKind.REFUSE, "coll:support", "role:support", frozenset({"crane"}), 40), Why.APPLIES),
    ],
)
def test_a_rule_is_about_what_it_names(rule: Rule, why: Why) -> None:
    """Whole words, a collection of which something is readable, the asker's roles, their number of questions."""
    assert explain(Routing(((rule,),)), FACTS) == (("r", why),)
    refused = Route(RouteKind.REFUSE, ("refused_by_rule", "by_rule"), None, "r")
    assert routed(rule) == (refused if why is Why.APPLIES else Route(RouteKind.RETRIEVE, ()))


def test_the_first_rule_that_applies_decides() -> None:
    """And the explanation ends there."""
    never, first = Rule("never", RouteKind.REFUSE, role="role:board"), Rule("first", RouteKind.RETRIEVE)
    assert routed(never, first, HELP) == Route(RouteKind.RETRIEVE, ("by_rule",), None, "first")
    assert explain(Routing(((never, first, HELP),)), FACTS) == (("never", Why.ROLE), ("first", Why.APPLIES))


def test_two_versions_that_differ_fail_closed() -> None:
    """To a refusal if one of them refuses, else to retrieval; where they agree, there is nothing to tell."""
    refusing = Rule("no", RouteKind.REFUSE)
    for old, new in (((HELP,), ()), ((), (HELP,)), ((HELP,), (replace(HELP, route=RouteKind.ADAPTER),))):
        both = Routing((old,)) & Routing((new,))
        chosen = route(may_chat=True, classes=(1,), dropped_turns=0, routing=both, facts=FACTS)
        assert chosen == Route(RouteKind.RETRIEVE, ("routing_changes",))
    for old, new in (((refusing,), (HELP,)), ((), (refusing,))):
        both = Routing((old,)) & Routing((new,))
        assert route(may_chat=True, classes=(1,), dropped_turns=0, routing=both, facts=FACTS).kind is RouteKind.REFUSE
    same = Routing(((HELP,),)) & Routing(((replace(HELP, name="other"),),))
    assert route(may_chat=True, classes=(1,), dropped_turns=0, routing=same, facts=FACTS).adapter == "support@1"


COLLECTIONS = ["coll:a", "coll:a/b", "coll:c"]
ADAPTERS = st.builds(
    UsableAdapter,
    st.sampled_from(["a@1", "a@2", "b@1", "c@1"]),
    st.sampled_from(["adapter:a", "adapter:b"]),
    st.frozensets(st.sampled_from([*COLLECTIONS, None]), min_size=1, max_size=2),
    st.floats(0, 90),
    st.floats(0, 100),
    st.booleans(),
)
RULES = st.builds(
    Rule,
    st.sampled_from(["one", "two"]),
    st.sampled_from(list(RouteKind)),
    st.none() | st.sampled_from(COLLECTIONS),
    st.none() | st.sampled_from(["role:x", "role:y"]),
    st.frozensets(st.sampled_from(["red", "blue"]), max_size=1),
    st.sampled_from([0, 0, 10]),
    st.lists(st.sampled_from(["adapter:a", "adapter:b"]), unique=True, max_size=2).map(tuple),
    st.none() | st.integers(1, 60),
    st.none() | st.floats(0, 100),
    st.sampled_from([RouteKind.RETRIEVE, RouteKind.REFUSE]),
)
SITUATIONS = st.builds(
    Facts,
    st.sampled_from(["", "a red one", "Blue?", "reddish", "adapter:a a@1 route: adapter"]),
    st.frozensets(st.sampled_from(["role:x", "role:y"])),
    st.frozensets(st.sampled_from(COLLECTIONS)),
    st.dictionaries(st.sampled_from(["role:x", "role:y"]), st.integers(0, 20)),
    st.lists(ADAPTERS, max_size=4, unique_by=lambda one: one.name),
    st.booleans(),
)
ROUTINGS = st.lists(st.lists(RULES, max_size=3).map(tuple), min_size=1, max_size=2).map(
    lambda sets: Routing(tuple(sets))
)


@given(ROUTINGS, SITUATIONS, st.randoms())
def test_a_route_keeps_to_the_eligible_adapters_and_to_its_facts(
    routing: Routing, facts: Facts, chance: Random
) -> None:
    """An adapter answers only if it is among those given, served, and asked for by a rule; it is the same in whatever
    order they were found, and whatever the question says in words that no rule names."""
    chosen = route(may_chat=True, classes=(1,), dropped_turns=0, routing=routing, facts=facts)
    named = {one.name: one for one in facts.adapters}
    if chosen.kind in (RouteKind.ADAPTER, RouteKind.BOTH):
        assert chosen.adapter is not None
        adapter = named[chosen.adapter]
        assert adapter.served
        assert facts.model_up
        for rules in routing.sets:
            rule = next(rule for rule in rules if rule.judge(facts) is Why.APPLIES)
            assert rule.route is chosen.kind
            assert rule.rank(adapter) is not None
            assert rule.fresh(adapter)
    else:
        assert chosen.adapter is None
    shuffled = list(facts.adapters)
    chance.shuffle(shuffled)
    noisy = replace(facts, adapters=shuffled, question=facts.question + " b@1 adapter+retrieve role:y coll:c reds")
    assert route(may_chat=True, classes=(1,), dropped_turns=0, routing=routing, facts=noisy) == chosen


@given(ROUTINGS, SITUATIONS)
def test_without_adapters_and_refusals_everything_is_retrieved(routing: Routing, facts: Facts) -> None:
    """No rule opens a road that nothing stands on; who may not chat is refused by every routing."""
    bare = replace(facts, adapters=())
    chosen = route(may_chat=True, classes=(1,), dropped_turns=0, routing=routing, facts=bare)
    assert chosen.kind in (RouteKind.RETRIEVE, RouteKind.REFUSE)
    denied = route(may_chat=False, classes=(1,), dropped_turns=0, routing=routing, facts=facts)
    assert denied == Route(RouteKind.REFUSE, ("chat_not_allowed",))
