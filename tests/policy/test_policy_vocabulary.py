"""Typed names, actions and principals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher_policy.vocabulary import (
    KINDS,
    MAX_NAME,
    RESERVED,
    Action,
    Principal,
    ancestors,
    fits,
    is_name,
    objects_of,
    split_name,
    typed,
)

raw_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=MAX_NAME)


@given(raw_names)
def test_every_raw_name_has_one_typed_form(raw: str) -> None:
    """What was encoded comes back exactly, so no two people share a name."""
    assert split_name(typed("user", raw)) == ("user", raw)


@given(raw_names)
def test_a_typed_name_cannot_corrupt_a_rule_file(raw: str) -> None:
    """Neither a separator nor a comment, quote, bracket or line end stands in a name, and no space at its ends."""
    _, _, encoded = typed("group", raw).partition(":")
    assert not set(encoded) & (RESERVED - {"%"} | {"\n", "\r", "\t"})
    assert encoded.strip() == encoded
    assert len(encoded.splitlines()) == 1


@given(st.text(max_size=30))
def test_only_the_canonical_form_is_a_name(text: str) -> None:
    """A text is a name if and only if encoding its raw text gives it back."""
    name = f"user:{text}"
    assert is_name(name) == (is_name(name) and typed(*split_name(name)) == name)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("CN=Payroll,OU=HR", "group:CN=Payroll%2COU=HR"),
        ('say "x"', "group:say %22x%22"),
        ("a\nb", "group:a%0Ab"),
        ("100%", "group:100%25"),
        (" x ", "group:%20x%20"),
        ("é", "group:é"),
        ("e\u0301", "group:e%CC%81"),
        ("x\u200b", "group:x%E2%80%8B"),
    ],
)
def test_a_credentials_value_is_percent_encoded(raw: str, name: str) -> None:
    """Reserved, invisible and decomposed characters are encoded; other letters stay readable."""
    assert typed("group", raw) == name


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("team", "a"),
        ("user", ""),
        ("user", "x" * 300),
        ("user", "\ud800"),
        ("coll", "a//b"),
        ("coll", "../a"),
        ("coll", "a/ /b"),
        ("sys", "root"),
        ("readers", "all"),
        ("readers", "A" * 64),
    ],
)
def test_what_cannot_be_named_is_refused(kind: str, raw: str) -> None:
    """An impossible name raises, with a remedy after the semicolon."""
    with pytest.raises(ValueError, match="; "):
        typed(kind, raw)


def test_ancestors_are_whole_segments() -> None:
    """A collection is below its path's beginnings, never below a name that merely begins alike."""
    assert ancestors("coll:a/b/c") == ("coll:a/b", "coll:a")
    assert ancestors("coll:finances") == ()
    assert ancestors("role:hr/payroll/clerk") == ("role:hr/payroll", "role:hr")
    assert ancestors("user:a/b") == ()


def test_each_action_belongs_to_objects_that_exist() -> None:
    """No action is without objects, and `fits` tells kinds and system objects apart."""
    for action in Action:
        assert objects_of(action)
        assert all(place in KINDS or is_name(place) for place in objects_of(action))
    assert fits(Action.DOCUMENT_READ, "coll:a")
    assert not fits(Action.DOCUMENT_READ, "adapter:a")
    assert fits(Action.AUDIT_READ, "coll:a")
    assert not fits(Action.KEY_ISSUE, "sys:policy")


def test_subjects_are_the_user_and_the_groups() -> None:
    """They are sorted, so that equal principals are asked about alike."""
    assert Principal("user:b", frozenset({"group:z", "group:a"})).subjects == ("group:a", "group:z", "user:b")


@pytest.mark.parametrize(
    ("user", "groups"),
    [("alice", []), ("role:hr", []), ("user:", []), ("user:a", ["role:hr"]), ("user:a", ["user:b"]), ("user:a", ["x"])],
)
def test_a_credential_gives_only_user_and_group_names(user: str, groups: list[str]) -> None:
    """A role never comes from a credential, nor does a name out of form."""
    assert Principal(user, frozenset(groups)).problem is not None
    assert Principal("user:a", frozenset({"group:b"})).problem is None
