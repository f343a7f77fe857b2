"""What a person may change, by a document's requirements; and which paths are plain."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core.uploads import MAX_PATH, Verdict, document_path, judge, sole_collection

READERS = "readers:" + "0" * 64


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize(
    ("requirements", "ingest", "mine"),
    [
        ({"coll:hr"}, {"coll:hr"}, True),
        ({"coll:hr"}, {"coll:finance"}, False),
        ({"coll:hr"}, set(), False),
        ({"coll:hr", "mark:pii"}, {"coll:hr"}, False),
        ({"coll:hr", READERS}, {"coll:hr"}, False),
        ({READERS}, {READERS}, False),
        ({"mark:pii"}, {"mark:pii"}, False),
        (set(), {""}, False),
    ],
)
def test_the_right_on_the_one_collection_decides(
    requirements: set[str], ingest: set[str], mine: bool, readable: bool
) -> None:
    """Readers, markings and no collection are the operator's; what is neither readable nor one's own is not known."""
    expected = Verdict.ALLOWED if mine else Verdict.FORBIDDEN if readable else Verdict.UNKNOWN
    assert judge(frozenset(requirements), readable, ingest.__contains__) is expected


def test_one_collection_alone() -> None:
    """Nothing beside it, nothing else in its place."""
    assert sole_collection(frozenset({"coll:hr/pay"})) == "coll:hr/pay"
    assert sole_collection(frozenset({"coll:hr", "coll:finance"})) is None


@given(st.text(max_size=30))
def test_a_path_is_refused_or_leads_below(text: str) -> None:
    """Whatever it is made of: composed, visible, relative, and nothing in it climbs."""
    try:
        path = document_path(text)
    except ValueError:
        return
    parts = path.split("/")
    assert not {"", ".", ".."} & set(parts)
    assert "\\" not in path
    assert not any(unicodedata.category(letter)[0] == "C" for letter in path)
    assert document_path(path) == path == unicodedata.normalize("NFC", text)


def test_a_path_is_as_long_as_it_is_kept() -> None:
    """Some letters are more in their composed form."""
    assert document_path("x" * MAX_PATH) == "x" * MAX_PATH
    for text in ("x" * (MAX_PATH + 1), "\u0958" * MAX_PATH, ""):
        with pytest.raises(ValueError, match="characters"):
            document_path(text)
