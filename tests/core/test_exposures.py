"""What was shown, packed; and whether it may be shown again."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core import exposures

DOCUMENTS = st.frozensets(st.uuids(), max_size=8)


@given(DOCUMENTS)
def test_packing_keeps_the_set(documents: frozenset[UUID]) -> None:
    """Equal sets give equal bytes, and the bytes give the set back."""
    packed = exposures.pack(documents)
    assert exposures.unpack(packed) == documents
    assert packed == exposures.pack([*sorted(documents, reverse=True), *documents])


@given(DOCUMENTS, st.lists(DOCUMENTS, max_size=4))
def test_closed_over_what_was_in_the_prompt(own: frozenset[UUID], earlier: list[frozenset[UUID]]) -> None:
    """An exchange has shown its passages and all that the exchanges in its prompt have shown."""
    packed = exposures.closed(own, [exposures.pack(documents) for documents in earlier])
    assert exposures.unpack(packed) == own.union(*earlier)
    assert set(exposures.documents_of([packed])) == own.union(*earlier)


@given(
    st.dictionaries(st.uuids(), st.lists(st.integers(0, 3), max_size=2)), DOCUMENTS, st.frozensets(st.integers(0, 3))
)
def test_permitted_only_if_every_class_of_every_document_is(
    classes: dict[UUID, list[int]], shown: frozenset[UUID], scope: frozenset[int]
) -> None:
    """The class in force and the pending one must be in the scope; an unknown document is in nobody's."""
    packed = exposures.pack(shown)
    banned = exposures.forbidden(classes, exposures.documents_of([packed]), scope)
    expected = all(classes.get(document) and set(classes[document]) <= scope for document in shown)
    assert exposures.permitted(packed, banned) == expected


def test_broken_bytes_are_not_permitted() -> None:
    """Bytes that are no whole ids raise, and are never taken as "nothing was shown"."""
    with pytest.raises(ValueError, match="whole"):
        exposures.permitted(b"abc", {b"x" * 16})
