"""What an adapter learned: exact, inherited, and stale when a part of it may no longer be known."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lora.made import DIGEST, document, learned, line

from usher_lora.faults import AdapterFault
from usher_lora.lineage import Cause, Learned, Lineage, ParentKind, Stale, canonical, lineage, parse, stale

DOCUMENTS = st.builds(learned, st.integers(0, 9), st.integers(1, 4), st.integers(1, 3))
LINEAGES = st.builds(
    lineage, st.lists(DOCUMENTS, min_size=1, max_size=9), st.lists(st.sampled_from(["p1", "p2", "p3"]), max_size=3)
)


@given(LINEAGES, LINEAGES, LINEAGES)
def test_what_is_built_from_others_inherits_all_that_they_learned(own: Lineage, one: Lineage, other: Lineage) -> None:
    """Over two generations, from adapters and from a base; each parent is named once."""
    child = lineage(one.documents, one.subjects, [(ParentKind.BASE, "base", other)])
    grown = lineage(own.documents, own.subjects, [(ParentKind.ADAPTER, "one@sha256:0", child)])
    assert set(grown.documents) == {*own.documents, *one.documents, *other.documents}
    assert set(grown.subjects) == {*own.subjects, *one.subjects, *other.subjects}
    assert {(p.name, p.lineage) for p in grown.parents} == {("base", other.digest), ("one@sha256:0", child.digest)}


@given(LINEAGES, st.randoms())
def test_equal_lineages_have_equal_bytes(made: Lineage, chance: object) -> None:
    """Whatever the order they were told in; and the bytes read back as the same."""
    shuffled = list(made.documents) * 2
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis's own random.Random
    again = lineage(shuffled, reversed(made.subjects))
    assert canonical(again) == canonical(made)
    assert parse(canonical(made)) == made
    assert again.digest == made.digest


@given(LINEAGES, LINEAGES)
def test_different_lineages_have_different_digests(one: Lineage, other: Lineage) -> None:
    """An access class alone makes one another."""
    assert (one == other) == (one.digest == other.digest)


def test_one_document_learned_under_two_classes_keeps_both() -> None:
    """Its label was changed between two trainings: whoever uses the adapter must read both."""
    assert line(1).trained_classes | {3} == lineage([learned(1), learned(1, access_class=3)]).trained_classes


def test_a_lineage_of_nothing_is_refused() -> None:
    """It would be inside every scope."""
    with pytest.raises(AdapterFault, match="is empty"):
        lineage([], ["p1"])


def test_one_version_with_two_digests_is_refused() -> None:
    """One of the two was not that version."""
    with pytest.raises(AdapterFault, match="two digests"):
        lineage([learned(1), learned(1, digest="cd" * 32)])


@pytest.mark.parametrize(
    "wrong", [Learned(document(1), 0, 1, DIGEST), Learned(document(1), 1, 0, DIGEST), Learned(document(1), 1, 1, "AB")]
)
def test_what_no_document_can_be_is_refused(wrong: Learned) -> None:
    """Version 0, class 0 (a document not yet committed), a digest that is none."""
    with pytest.raises(AdapterFault):
        lineage([wrong])


def broken(**changes: object) -> bytes:
    told = json.loads(canonical(line(1, 2)))
    return json.dumps(told | changes, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"documents":[],"subjects":[],"parents":[]}',
        broken(extra=1),
        broken(subjects=["b", "a"]),
        broken(subjects=["a", "a"]),
        broken(parents=[{"kind": "other", "name": "x", "lineage": DIGEST}]),
        canonical(line(1)).replace(b":", b": ", 1),
        canonical(line(1)).replace(b'"version":1', b'"version":2,"version":1'),
        canonical(line(1)).replace(b'"version":1', b'"version":1.0'),
        canonical(line(1)) + b"\n",
    ],
)
def test_bytes_that_are_no_lineage_are_refused(data: bytes) -> None:
    """Malformed, unsorted, with an unknown key, or in any other form than the canonical one."""
    with pytest.raises(AdapterFault):
        parse(data)


def test_a_lineage_is_stale_by_each_document_and_subject_that_went() -> None:
    """And by nothing that it never learned."""
    made = lineage([learned(1), learned(2)], ["p1"])
    gone = {document(2): Cause.DOCUMENT_DELETED, document(7): Cause.DOCUMENT_ERASED}
    assert stale(made, gone, {"p2": Cause.SUBJECT_ERASED}) == (Stale(Cause.DOCUMENT_DELETED, str(document(2))),)
    assert stale(made, {}, {"p1": Cause.SUBJECT_WITHDREW}) == (Stale(Cause.SUBJECT_WITHDREW, "p1"),)
    assert stale(made, {}, {}) == ()


def test_a_document_that_no_longer_exists_makes_stale() -> None:
    """A lineage may name what nobody knows any more."""
    assert stale(line(1, 2), {}, {}, known=[document(2)]) == (Stale(Cause.DOCUMENT_ERASED, str(document(1))),)
