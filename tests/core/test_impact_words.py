"""What a change gives and takes, in words: nothing is lost in them."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usher.core import impact_words as words_of
from usher.core.impact_text import code, lines, markdown
from usher.core.impact_words import GroupWords, Listed, Side, Stock, impact_words
from usher_policy.catalog import Catalog, readers_digest, restricts
from usher_policy.impact import Change, Group, Person
from usher_policy.rights import Asked
from usher_policy.vocabulary import ancestors, typed

READERS = readers_digest(["user:alice"])
CLASSES = {
    1: frozenset({"coll:finance"}),
    2: frozenset({"coll:finance/payroll"}),
    3: frozenset({"coll:finance/payroll", "mark:pii"}),
    4: frozenset({"coll:hr"}),
    5: frozenset({READERS}),
}
STOCK = Stock.of(Catalog(1, CLASSES, {READERS: frozenset({"user:alice"})}), {1: 10, 2: 41, 3: 2, 4: 7, 5: 1})


def told(change: Change, *people: Person) -> list[str]:
    return lines(impact_words([Group(change, people or (Person("user:alice"),))], STOCK))


def test_people_gain_a_collection() -> None:
    """A collection of which every document is gained is told by its name, once, with what is below it."""
    twelve = [Person(f"user:p{n}") for n in range(2)]
    change = Change(gained=frozenset({2, 3}), reads_gained=("coll:finance/payroll",))
    assert told(change, *twelve) == [
        "2 people (`p0` and `p1`) gain `finance/payroll` (43 documents, some marked `pii`)"
    ]
    everything = Change(gained=frozenset({1, 2, 3}), reads_gained=("coll:finance", "coll:finance/payroll"))
    assert told(everything) == ["`alice` gains `finance` (53 documents, some marked `pii`)"]


def test_a_part_is_told_as_a_part() -> None:
    """Also where all that is there now is below a collection of which the rule was not."""
    assert told(Change(gained=frozenset({2}))) == ["`alice` gains a part of `finance/payroll` (41 documents)"]
    assert told(Change(lost=frozenset({2, 3}))) == ["`alice` loses `finance/payroll` (43 documents, some marked `pii`)"]
    stock = Stock.of(Catalog(1, {2: CLASSES[2]}), {2: 41})
    one = [Group(Change(gained=frozenset({2}), reads_gained=("coll:finance/payroll",)), (Person("user:alice"),))]
    assert lines(impact_words(one, stock)) == ["`alice` gains `finance/payroll` (41 documents)"]


def test_rights_without_documents_are_told() -> None:
    """Adapters, rights of policy and log, reader lists, and a collection in which nothing lies yet."""
    change = Change(
        gained=frozenset({5}),
        rights_gained=(Asked("adapter:x", "adapter.use"), Asked("sys:policy", "policy.approve")),
        reads_gained=("coll:new", READERS),
    )
    assert told(change) == [
        "`alice` gains what the reader list of `alice` opens (1 document), `adapter.use` on `adapter:x`,"
        " `policy.approve` on `sys:policy` and the right to read `coll:new`, which opens nothing more by itself"
    ]


def test_whoever_is_not_known_is_told_as_such() -> None:
    """Users whom only rules name, and anyone who may come with a group."""
    change = Change(lost=frozenset({4}))
    some = [Person("user:zed", known=False), Person(None, frozenset({"group:x"}), known=False), Person("user:alice")]
    assert told(change, *some) == [
        "`alice`, `zed` (not in the directory) and anyone in `group:x` lose `hr` (7 documents)"
    ]


def test_nothing_is_said_as_nothing() -> None:
    """In both forms."""
    assert lines(impact_words([], STOCK)) == ["nobody gains or loses anything"]
    assert "Nobody" in markdown(impact_words([], STOCK))


def _span(text: str) -> str:
    """What is in a code span, as CommonMark reads it; it must be the whole of the text."""
    opening = re.match("`+", text)
    assert opening is not None
    runs = [run for run in re.finditer("`+", text[opening.end() :]) if len(run[0]) == len(opening[0])]
    assert opening.end() + runs[0].end() == len(text)
    inner = text[opening.end() : opening.end() + runs[0].start()]
    return inner[1:-1] if inner[:1] == inner[-1:] == " " and inner.strip() else inner


@pytest.mark.parametrize("name", ["a`b", "``", "`", "x``y`z", "`x", " x ", "@team", "<img src=x>", "[a](http://b)"])
def test_a_name_is_no_markup(name: str) -> None:
    """A code span holds exactly the name, whatever is in it."""
    assert _span(code(name)) == name


PLACES = ["coll:a", "coll:a/b", "coll:a/b/c", "coll:a/d", "coll:e", READERS]
MARKS = ["mark:pii", "mark:mnpi"]


@st.composite
def changed(draw: st.DrawFn) -> tuple[list[Group], Stock]:
    """Any groups over any classes, more than a text has room for."""
    some = st.builds(
        lambda place, marks: frozenset({place, *marks}), st.sampled_from(PLACES), st.sets(st.sampled_from(MARKS))
    )
    drawn = draw(st.lists(some, min_size=1, max_size=12, unique=True))
    classes = dict(enumerate(drawn, 1))
    stock = Stock.of(
        Catalog(1, classes, {READERS: frozenset({"user:alice"})}),
        {ident: draw(st.integers(0, 50)) for ident in classes},
    )
    idents = st.frozensets(st.sampled_from(sorted(classes)))
    rights = st.lists(
        st.builds(
            Asked, st.sampled_from(["adapter:x", "adapter:y", "coll:a"]), st.sampled_from(["adapter.use", "key.issue"])
        ),
        unique=True,
    ).map(tuple)
    reads = st.lists(st.sampled_from([*PLACES, *MARKS, "coll:a/new"]), unique=True).map(tuple)
    people = st.builds(
        lambda number, kind: (
            Person(None, frozenset({f"group:g{number}"}), known=False)
            if kind == 0
            else Person(f"user:u{number}", known=kind == 1)
        ),
        st.integers(0, 30),
        st.integers(0, 2),
    )
    one = st.builds(
        Group,
        st.builds(Change, idents, idents, rights, rights, reads, reads),
        st.lists(people, min_size=1, max_size=20, unique=True).map(tuple),
    )
    return draw(st.lists(one, max_size=4)), stock


def _listed(listed: Listed) -> int:
    return len(listed.names) + listed.more


def _side_counts(
    side: Side, classes: frozenset[int], rights: tuple[Asked, ...], reads: tuple[str, ...], stock: Stock
) -> None:
    shelves = side.shelves
    assert sum(shelf.classes for shelf in shelves.told) + shelves.more_classes == len(classes)
    counted = sum(shelf.documents for shelf in shelves.told) + shelves.more_documents
    assert counted == sum(stock.documents[ident] for ident in classes)
    assert Counter({right.action: _listed(right.objects) for right in side.rights}) == Counter(r.act for r in rights)
    places = {shelf.place: shelf.whole for shelf in shelves.told}
    assert len(places) == len(shelves.told)
    if shelves.more or side.reads.more:
        return
    for name in reads:
        by_shelf = name in places or any(places.get(above) for above in ancestors(name))
        assert by_shelf != (name in side.reads.names)
    for place, whole in places.items():
        there = {
            ident
            for ident, names in stock.catalog.classes.items()
            if restricts(names) and any(place in (name, *ancestors(name)) for name in names)
        }
        assert not whole or there <= classes
    homes = {name for ident in classes for name in stock.catalog.classes[ident] if not name.startswith("mark:")}
    assert all(any(place in (home, *ancestors(home)) for place in places) for home in homes)


def _people(group: GroupWords) -> int:
    return sum(map(_listed, (group.whom.people, group.whom.strangers, group.whom.anyone_in)))


@settings(deadline=None)
@given(changed())
def test_words_lose_nothing(world: tuple[list[Group], Stock]) -> None:
    """Every class, document, right, requirement and person is told once, or counted once with the others; what is
    called whole is whole."""
    groups, stock = world
    for most in (3, 40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(words_of, "MAX_GROUPS", most)
            patch.setattr(words_of, "MAX_SHELVES", most)
            found = impact_words(groups, stock)
        assert len(found.groups) + found.more_groups == len(groups)
        assert sum(map(_people, found.groups)) + found.more_people == sum(len(group.people) for group in groups)
        assert found.gaining == sum(len(group.people) for group in groups if group.change.gains)
        for told, group in zip(found.groups, groups, strict=False):
            change = group.change
            _side_counts(told.gained, change.gained, change.rights_gained, change.reads_gained, stock)
            _side_counts(told.lost, change.lost, change.rights_lost, change.reads_lost, stock)
            assert told.gains == change.gains


@settings(max_examples=15, deadline=None)
@given(changed(), st.integers(1_000, 4_000))
def test_a_comment_has_its_bound(world: tuple[list[Group], Stock], most: int) -> None:
    """Whatever is left out of it is counted."""
    groups, stock = world
    words = impact_words(groups * 10, stock)
    text = markdown(words, most)
    assert len(text) <= most
    shown = sum(f"- {line}" in text for line in lines(words))
    assert not words.groups or shown == len(lines(words)) or "others, in" in text.splitlines()[-1]


def test_long_lists_are_counted() -> None:
    """A thousand people in one group: some by name, the rest as a number."""
    crowd = [Person(typed("user", f"p{n:04}")) for n in range(1_000)]
    line = told(Change(lost=frozenset({4})), *crowd)[0]
    assert line.startswith("1000 people (`p0000`, ")
    assert "988 more) lose `hr`" in line
