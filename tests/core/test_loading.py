"""What a model server has to load and to unload."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from usher.core.loading import everywhere, steps

NAMES = st.sampled_from("abcde")
PLACES = st.dictionaries(NAMES, st.sampled_from(["/1", "/2"]))


@given(PLACES, PLACES, st.sets(NAMES))
def test_carried_out_it_has_what_is_published(published: dict[str, str], has: dict[str, str], gone: set[str]) -> None:
    """From any state: what is to leave has left, no name was given other weights, and nothing more is to do."""
    plan = steps(published, has, gone, ())
    after = {name: path for name, path in has.items() if name not in plan.unload}
    assert not set(plan.load) & (set(after) | set(has))
    after |= {name: published[name] for name in plan.load}
    assert plan.ready == {name for name in published if has.get(name) == published[name]}
    assert set(after) == (set(published) - plan.spoiled) | plan.leaving
    again = steps({name: path for name, path in published.items() if name not in plan.spoiled}, after, gone, ())
    assert (again.load, again.unload, again.spoiled) == ((), (), frozenset())


@given(PLACES, PLACES, st.sets(NAMES), st.sets(NAMES))
def test_what_is_published_is_never_unloaded(
    published: dict[str, str], has: dict[str, str], drained: set[str], stopped: set[str]
) -> None:
    """Unless other weights stand under its name; and what leaves was drained or stopped."""
    plan = steps(published, has, drained, stopped)
    for name in set(plan.unload) - plan.spoiled:
        assert name not in published
        assert name in drained | stopped
    assert plan.leaving == set(has) - set(published) - drained - stopped


def test_a_route_names_what_all_have() -> None:
    """Where no server answers there is nothing."""
    assert everywhere([frozenset("ab"), frozenset("bc")]) == {"b"}
    assert everywhere([]) == frozenset()
