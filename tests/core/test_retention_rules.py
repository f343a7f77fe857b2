"""How long things are kept: the rules, the longest of which decides, and holds over them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usher.core.holds import Hold, Kept, On
from usher.core.policy_documents import PolicyDocumentError, PolicyDocuments, parse_documents
from usher.core.retention import Item, Retention, Rule, Type, judge

NOW = datetime(2026, 11, 22, tzinfo=UTC)
OLD = NOW - timedelta(days=100, microseconds=1)
KEPT = Kept(times=(OLD,), pseudonym="p1", exchange="x1")
ITEM = Item(Type.CHAT, "x1", OLD, KEPT, frozenset({"role:hr", "role:employee"}), frozenset({"coll:finance/payroll"}))


def decides(*rules: Rule, item: Item = ITEM) -> str | None:
    verdict = judge(item, Retention((rules,)), (), NOW)
    return verdict.rule.name if verdict.rule is not None and verdict.goes else None


def test_without_a_rule_it_is_kept_for_ever() -> None:
    """Also where there are rules, about other things."""
    assert decides() is None
    assert (
        decides(Rule("r", 1, type=Type.SEARCH), Rule("s", 1, role="role:board"), Rule("t", 1, None, "coll:hr")) is None
    )


def test_it_goes_when_it_is_older_than_its_rule_says() -> None:
    """Not on the day itself."""
    assert decides(Rule("r", 100)) == "r"
    assert decides(Rule("r", 100), item=replace(ITEM, at=NOW - timedelta(days=100))) is None
    assert decides(Rule("r", 101)) is None


@pytest.mark.parametrize("narrow", [{"type": Type.CHAT}, {"role": "role:hr"}, {"collection": "coll:finance"}])
def test_a_rule_is_about_what_it_names(narrow: dict[str, str]) -> None:
    """A collection with what is below it."""
    assert decides(Rule("r", 1, **narrow)) == "r"  # type: ignore[arg-type]  # each of its own type
    other = Item(Type.SEARCH, "x2", OLD, KEPT, frozenset(), frozenset({"coll:fin", None}))
    assert decides(Rule("r", 1, **narrow), item=other) is None  # type: ignore[arg-type]  # each of its own type


def test_of_several_rules_the_longest_decides() -> None:
    """Whatever their order."""
    rules = (Rule("short", 1), Rule("long", 101, collection="coll:finance"))
    assert decides(*rules) is None
    assert decides(*rules[::-1]) is None
    assert decides(rules[0], replace(rules[1], days=99)) == "long"


def test_it_is_kept_as_long_as_any_place_of_its_documents_must_be() -> None:
    """One of them without a rule keeps it for ever."""
    both = replace(ITEM, places=frozenset({"coll:finance", "coll:board"}))
    finance, board = Rule("finance", 1, collection="coll:finance"), Rule("board", 200, collection="coll:board")
    assert decides(finance, item=both) is None
    assert decides(finance, board, item=both) is None
    assert decides(finance, replace(board, days=50), item=both) == "board"


def test_what_showed_no_document_is_only_under_rules_of_any_collection() -> None:
    """An empty set of places is that too."""
    for places in (frozenset(), frozenset({None})):
        assert decides(Rule("r", 1, collection="coll:finance"), item=replace(ITEM, places=places)) is None
        assert decides(Rule("r", 1), item=replace(ITEM, places=places)) == "r"


def test_what_is_held_stays_and_its_rule_is_told() -> None:
    """So that a report can say how much a hold keeps."""
    hold, rules = Hold("h", On.PERSON, "p1"), Retention(((Rule("r", 1),),))
    verdict = judge(ITEM, rules, [hold], NOW)
    assert (verdict.goes, verdict.rule, verdict.holds) == (False, Rule("r", 1), (hold,))
    assert judge(ITEM, rules, [replace(hold, target="p2")], NOW).goes


def test_while_a_policy_is_on_its_way_both_must_let_it_go() -> None:
    """The old one and the new one, in either order; one without rules keeps all."""
    short, none = PolicyDocuments(retention=Retention(((Rule("r", 1),),))), PolicyDocuments()
    long = PolicyDocuments(retention=Retention(((Rule("s", 101),),)))
    for other in (none, long):
        for both in (short.intersect(other), other.intersect(short)):
            assert not judge(ITEM, both.retention, (), NOW).goes
            assert both.retention.shortest == (101 if other is long else None)
    assert judge(ITEM, short.intersect(short).retention, (), NOW).goes
    assert short.intersect(short) == short


RULES = st.builds(
    Rule,
    st.sampled_from(["a", "b", "c"]),
    st.integers(1, 4),
    st.sampled_from([None, None, *Type]),
    st.sampled_from([None, None, "coll:a", "coll:a/b"]),
    st.sampled_from([None, None, "role:x"]),
)
TIMES = st.sampled_from([None, *(NOW - timedelta(days=n) for n in range(8))])


@st.composite
def holds(draw: st.DrawFn) -> Hold:
    on = draw(st.sampled_from(On))
    target = draw(st.sampled_from(["coll:a", "coll:a/b"] if on is On.COLLECTION else ["1", "2"]))
    since, until = draw(TIMES), draw(TIMES)
    if since is not None and until is not None and since >= until:
        until = None
    return Hold("h", on, target, since, until)


@st.composite
def items(draw: st.DrawFn) -> Item:
    at = NOW - timedelta(days=draw(st.integers(0, 6)), microseconds=1)
    places = draw(st.frozensets(st.sampled_from([None, "coll:a", "coll:a/b", "coll:c"]), max_size=2))
    one = st.sampled_from(["1", "2"])
    names = frozenset(place for place in places if place)
    kept = Kept((at,), draw(one), draw(one), draw(one), draw(st.frozensets(one)), names)
    return Item(draw(st.sampled_from(Type)), "x", at, kept, draw(st.frozensets(st.just("role:x"))), places)


def covers(hold: Hold, kept: Kept) -> bool:
    """By the words of the promise, without the code that is tested."""
    inside = [at for at in kept.times if (hold.since or at) <= at and (hold.until is None or at < hold.until)]
    below = {"/".join(name.split("/")[:n]) for name in kept.collections for n in (1, 2)}
    of = {
        On.PERSON: {kept.pseudonym},
        On.CONVERSATION: {kept.conversation},
        On.EXCHANGE: {kept.exchange},
        On.DOCUMENT: kept.documents,
        On.COLLECTION: below,
    }
    return bool(inside) and hold.target in of[hold.on]


@settings(deadline=None)
@given(items(), st.lists(RULES, max_size=4), st.lists(holds(), max_size=3))
def test_nothing_goes_that_a_hold_covers_or_that_some_place_keeps(
    item: Item, rules: list[Rule], on: list[Hold]
) -> None:
    """For any rules and holds, against an oracle that asks each place for the longest rule about it."""
    verdict = judge(item, Retention((tuple(rules),)), on, NOW)
    until = []
    for place in item.places or {None}:
        about = [r.days for r in rules if r.type in (None, item.type) and (not r.role or r.role in item.roles)
                 and (not r.collection or f"{place}/".startswith(f"{r.collection}/"))]  # fmt: skip
        until.append(max(about, default=10**6))
    over = NOW - item.at > timedelta(days=max(until))
    assert verdict.goes == (over and not any(covers(hold, item.kept) for hold in on))


BAD = {
    "x: 1": (1, "unknown"),
    "- a": (1, "no mapping"),
    "{}": (1, "has no `rules`"),
    "rules: 3": (1, "no list"),
    "rules: [": (1, "not YAML"),
    "rules:\n- 3": (2, "no mapping"),
    "rules:\n- {name: a}": (2, "no `days`"),
    "rules:\n- {days: 1}": (2, "no `name`"),
    "rules:\n- name: a\n  days: 1\n  days: 2": (4, "given twice"),
    "rules:\n- name: a\n  days: 1\n  colection: hr": (4, "unknown"),
    "rules:\n- name: a\n  days: true": (3, "no number of days"),
    "rules:\n- name: a\n  days: 0": (3, "no number of days"),
    "rules:\n- name: a\n  days: -1": (3, "no number of days"),
    "rules:\n- name: a\n  days: 1.5": (3, "no number of days"),
    "rules:\n- name: a\n  days: '30'": (3, "no number of days"),
    "rules:\n- name: a\n  days: 99999999999": (3, "no number of days"),
    "rules:\n- {name: A b, days: 1}": (2, "no rule's name"),
    "rules:\n- {name: a, days: 1, type: view}": (2, "`type` is unknown"),
    "rules:\n- {name: a, days: 1, role: ''}": (2, "no role: name"),
    "rules:\n- {name: a, days: 1, collection: 'a//b'}": (2, "no coll: name"),
    "rules:\n- {name: a, days: 1}\n- {name: a, days: 2}": (3, "given twice"),
}


@pytest.mark.parametrize("text", BAD)
def test_rules_that_cannot_be_used_are_refused(text: str) -> None:
    """With the file, the line, what is wrong and the remedy: never read as other rules, or as none."""
    line, problem = BAD[text]
    with pytest.raises(PolicyDocumentError) as refused:
        parse_documents({"retention.yaml": text})
    assert (refused.value.name, refused.value.line) == ("retention.yaml", line)
    assert problem in str(refused.value)
    assert refused.value.remedy


def test_rules_are_read_with_their_kinds_of_names_or_without() -> None:
    """In their order; an empty file is an absent one."""
    pay, b = "{name: pay, days: 3650, collection: finance/payroll}", "{name: b, days: 1, role: 'role:hr', type: chat}"
    text = f"rules:\n- {pay}\n- {b}"
    rules = (Rule("pay", 3650, None, "coll:finance/payroll"), Rule("b", 1, Type.CHAT, None, "role:hr"))
    assert parse_documents({"retention.yaml": text}).retention == Retention((rules,))
    for nothing in ("", "rules:", "rules: []", "# none\n"):
        assert parse_documents({"retention.yaml": nothing}) == PolicyDocuments()
