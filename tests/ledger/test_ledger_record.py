"""The record's format, which stays as it is once it is written."""

import hashlib
import json
import time
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usher.ledger.record import (
    Commitment,
    ContentRow,
    Entry,
    EventType,
    Kind,
    Who,
    content_aad,
    encode,
    fragment,
    leaf_hash,
    micros_of,
    rfc3339,
    row_digest,
    uuid7,
)

ENTRY = Entry(EventType.ANSWER, "a1", Who("p1", ("role:hr",), "key"), {"outcome": "answered", "text": "ü\u2028"})


def test_an_event_is_compact_ascii_json() -> None:
    """These very bytes are hashed; another spelling of the same object would be another leaf."""
    event = encode(7, 1_772_323_200_000_001, fragment(ENTRY), Commitment(2, b"\xab" * 32))
    assert event == (
        b'{"number":7,"time":"2026-03-01T00:00:00.000001Z","type":"answer","audit_id":"a1",'
        b'"who":{"pseudonym":"p1","roles":["role:hr"],"credential":"key"},"outcome":"answered",'
        b'"text":"\\u00fc\\u2028","content":{"rows":2,"digest":"' + b"ab" * 32 + b'"}}'
    )
    assert leaf_hash(event) == hashlib.sha256(b"\x00" + event).digest()


def test_an_event_of_nobody_has_the_same_members() -> None:
    """Audit id and who are there, and null."""
    event = json.loads(encode(1, 0, fragment(Entry(EventType.RECOVERY))))
    assert event == {
        "number": 1,
        "time": "1970-01-01T00:00:00.000000Z",
        "type": "recovery",
        "audit_id": None,
        "who": None,
    }


@pytest.mark.parametrize(
    "entry",
    [
        Entry(EventType.REQUEST, "a"),
        Entry(EventType.REQUEST, "a", body={"operation": "other"}),
        Entry(EventType.ANSWER),
        Entry(EventType.VIEW, body={"content": 1}),
        Entry(EventType.VIEW, body={"x": b"bytes"}),
        Entry(EventType.VIEW, body={"x": float("inf")}),
    ],
)
def test_what_cannot_be_an_event_is_refused(entry: Entry) -> None:
    """Missing ids, unknown operations, members of the envelope and values that JSON lacks are a `ValueError`."""
    with pytest.raises(ValueError, match=r"\w"):
        fragment(entry)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=60)
@given(_JSON)
def test_a_body_comes_back_as_it_was(value: object) -> None:
    """However deep it is and whatever its texts hold, in ASCII."""
    part = fragment(Entry(EventType.CASE, body={"x": value}))
    assert part.isascii()
    assert json.loads(part)["x"] == value


@pytest.mark.parametrize("depth", range(6))
@pytest.mark.parametrize("value", [float("nan"), float("-inf"), b"bytes", UUID(int=0), Who("p1"), object()])
def test_what_json_lacks_is_refused_at_any_depth(value: object, depth: int) -> None:
    """Nothing is written in its place, such as a null for what is no number."""
    for _ in range(depth):
        value = [{"inner": value}]
    with pytest.raises(ValueError, match=r"JSON"):
        fragment(Entry(EventType.CASE, body={"x": value}))


@given(st.integers(0, 4_000_000_000_000_000), st.integers(0, 4_000_000_000_000_000))
def test_times_as_text_are_ordered_as_times(first: int, second: int) -> None:
    """Text order is time order, and a time comes back from its text."""
    assert (rfc3339(first) < rfc3339(second)) == (first < second)
    assert micros_of(rfc3339(first)) == first


@settings(max_examples=40)
@given(*[st.text(max_size=4)] * 3, *[st.text(max_size=4)] * 3)
def test_no_two_places_share_their_associated_data(a: str, b: str, c: str, d: str, e: str, f: str) -> None:
    """Whatever characters ids have, one place's data is no other's."""
    assert (content_aad(a, 1, b, c) == content_aad(d, 1, e, f)) == ((a, b, c) == (d, e, f))
    assert content_aad(a, 1, b, c) != content_aad(a, 2, b, c)


def test_every_member_of_a_row_is_committed_to() -> None:
    """Changing any member of a content row changes its digest."""
    row = ContentRow("a", 0, Kind.QUESTION, "c", "p", b"m" * 32, b"s")
    others = [
        ContentRow("b", 0, Kind.QUESTION, "c", "p", b"m" * 32, b"s"),
        ContentRow("a", 1, Kind.QUESTION, "c", "p", b"m" * 32, b"s"),
        ContentRow("a", 0, Kind.ANSWER, "c", "p", b"m" * 32, b"s"),
        ContentRow("a", 0, Kind.QUESTION, "d", "p", b"m" * 32, b"s"),
        ContentRow("a", 0, Kind.QUESTION, "c", "q", b"m" * 32, b"s"),
        ContentRow("a", 0, Kind.QUESTION, "c", "p", b"n" * 32, b"s"),
        ContentRow("a", 0, Kind.QUESTION, "c", "p", b"m" * 32, b"t"),
    ]
    assert len({row_digest(each) for each in [row, *others]}) == 8


def test_ids_are_version_7_and_ordered_by_time() -> None:
    """An id has version and variant of RFC 9562 and begins with the time in milliseconds; no two are equal."""
    before = time.time_ns() // 1_000_000
    ids = [UUID(uuid7()) for _ in range(1000)]
    assert {(ident.version, ident.variant) for ident in ids} == {(7, "specified in RFC 4122")}
    assert all(before <= ident.int >> 80 <= time.time_ns() // 1_000_000 for ident in ids)
    assert len(set(ids)) == 1000
