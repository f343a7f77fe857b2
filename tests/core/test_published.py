"""What is kept in memory of a published adapter is what counting it anew would give."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid5

from hypothesis import given, settings
from hypothesis import strategies as st

from usher.adapters.published import Published
from usher.core.learned import is_part, part_of
from usher.ports.adapters import Served
from usher.ports.learned import Labelled
from usher_lora.lineage import Learned, lineage
from usher_policy.catalog import Catalog

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SERVED = Served("a" * 64, "money@sha256:" + "a" * 64, "adapter:money")
CATALOG = Catalog(1, {1: frozenset({"coll:a"}), 2: frozenset({"coll:a/b", "mark:pii"}), 3: frozenset({"readers:x"})})
DOCUMENTS = [UUID(int=n + 1) for n in range(4)]
numbers = st.integers(1, 3)
labels = st.builds(Labelled, st.lists(numbers, min_size=1, max_size=2, unique=True).map(tuple), numbers)
worlds = st.fixed_dictionaries(dict.fromkeys(DOCUMENTS, labels))
learned = st.lists(
    st.builds(Learned, st.sampled_from(DOCUMENTS), numbers, numbers, st.just("ab" * 32)), min_size=1, max_size=6
)


def begun(of: list[Learned], world: dict[UUID, Labelled]) -> Published:
    made = Published.of(SERVED, lineage(of), NOW)
    made.begin(world)
    return made


@settings(max_examples=60, deadline=None)
@given(learned, st.lists(worlds, min_size=2, max_size=4))
def test_counting_what_moved_is_counting_all_anew(of: list[Learned], worlds: list[dict[UUID, Labelled]]) -> None:
    """However labels and versions change: what it has learned, its collections, and how much has changed."""
    kept = begun(of, worlds[0])
    for before, after in pairwise(worlds):
        kept.moved(before, {d: label for d, label in after.items() if before[d] != label})
    anew = begun(of, worlds[-1])
    assert kept.speaker() == anew.speaker()
    assert kept.usable(CATALOG, NOW, served=True) == anew.usable(CATALOG, NOW, served=True)


def test_each_class_that_was_learned_is_a_part_with_the_classes_of_now() -> None:
    """A document that was learned under two classes is in both parts; parts are never documents."""
    of = [Learned(DOCUMENTS[0], 1, 1, "ab" * 32), Learned(DOCUMENTS[0], 2, 2, "ab" * 32)]
    kept = begun([*of, Learned(DOCUMENTS[1], 1, 1, "ab" * 32)], {d: Labelled((3,), 2) for d in DOCUMENTS})
    first, second = part_of(SERVED.id, 1), part_of(SERVED.id, 2)
    twice = begun([of[0], Learned(DOCUMENTS[0], 1, 2, "ab" * 32)], {DOCUMENTS[0]: Labelled((3,), 1)})
    assert twice.speaker().learned == ((second, 3),)  # one version is of one part, as the registry keeps it
    assert set(kept.speaker().learned) == {(first, 3), (second, 3)}
    assert kept.speaker().name == "money"
    assert is_part(first)
    assert not is_part(uuid5(first, "a document"))
    told = kept.usable(CATALOG, NOW + timedelta(days=2), served=False)
    assert (told.collections, told.age_days, told.changed_percent, told.served) == ({None}, 2, 50, False)


def test_a_document_that_is_not_there_any_more_counts_as_changed() -> None:
    """Whose adapter nobody may use: that its index says."""
    assert begun([Learned(DOCUMENTS[0], 1, 1, "ab" * 32)], {}).usable(CATALOG, NOW, served=True).changed_percent == 100
