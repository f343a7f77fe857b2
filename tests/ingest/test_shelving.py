"""Where a document is shelved: patterns against a naive matcher, rules and access lists, as pure decisions."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from usher.core.shelving import (
    AclLine,
    IngestRule,
    Refused,
    Shelf,
    Shelving,
    ShelvingError,
    Unlisted,
    parse_acl,
    parse_rules_yaml,
    shelve,
)
from usher_policy.catalog import readers_digest

ROLES = frozenset({"role:hr", "role:all"})


def _segment_fits(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(_segment_fits(pattern[1:], text[n:]) for n in range(len(text) + 1))
    return bool(text) and pattern[0] == text[0] and _segment_fits(pattern[1:], text[1:])


def _fits(pattern: list[str], path: list[str]) -> bool:
    """The naive matcher: segment by segment, trying everything."""
    if not pattern:
        return not path
    if pattern == ["**"]:
        return bool(path)
    if pattern[0] == "**":
        return any(_fits(pattern[1:], path[n:]) for n in range(len(path) + 1))
    return bool(path) and _segment_fits(pattern[0], path[0]) and _fits(pattern[1:], path[1:])


def _matches(glob: str, path: str) -> bool:
    """By the rule's effect: the document gets the rule's marking."""
    rules = parse_rules_yaml(json.dumps([{"glob": glob, "markings": ["seen"]}]))
    shelf = shelve(path, Shelving("coll:x", rules), ROLES)
    assert isinstance(shelf, Shelf)
    return "mark:seen" in shelf.requirements


_ALPHABET = "ab.\n+é"
PATHS = st.lists(st.text(_ALPHABET, min_size=1, max_size=3), min_size=1, max_size=4).map("/".join)
GLOBS = st.lists(
    st.one_of(st.just("**"), st.text(_ALPHABET + "*?[", min_size=1, max_size=4)), min_size=1, max_size=4
).map("/".join)


def _usable(glob: str) -> bool:
    return all(s not in (".", "..") and (s == "**" or "**" not in s) for s in glob.split("/"))


@settings(max_examples=60)
@given(glob=GLOBS.filter(_usable), path=PATHS)
@example("**", "a").via("everything")
@example("a/**", "a").via("at the end at least one segment")
@example("a/**/b", "a/b").via("in the middle also none")
@example("**/b", "b").via("at the start also none")
@example("a.b", "aéb").via("a dot is a dot")
@example("*", "a/b").via("a star stays in its segment")
def test_a_glob_matches_as_the_naive_matcher_does(glob: str, path: str) -> None:
    """Every character but the star stands for itself."""
    assert _matches(glob, path) is _fits(glob.split("/"), path.split("/"))


@settings(max_examples=40)
@given(path=PATHS, cut=st.integers(0, 3))
def test_a_glob_made_from_a_path_matches_it(path: str, cut: int) -> None:
    """Whole, and with segments from some place on left open."""
    segments = path.split("/")
    if _usable(path):
        assert _matches(path, path)
    if cut < len(segments) and _usable("/".join(segments[:cut])):
        assert _matches("/".join([*segments[:cut], "**"]), path)


@pytest.mark.parametrize("glob", ["", "/a", "a/", "a//b", "./a", "a/../b", "..", "a/**.md", "**a", "a**/b", "***"])
def test_a_glob_that_does_not_mean_what_it_looks_like_is_refused(glob: str) -> None:
    """One that never matched would leave its marking off in silence."""
    with pytest.raises(ShelvingError, match=r"rule 1.*glob"):
        parse_rules_yaml(json.dumps([{"glob": glob, "markings": ["pii"]}]))


def test_a_long_pattern_ends_soon() -> None:
    """No pattern that an operator would write, and few that one would not, make matching slow."""
    glob = "/".join(["**", "*a*"] * 6)
    assert not _matches(glob, "/".join(["aaaaaaaa"] * 12) + "/b")


def test_the_first_rule_with_a_collection_gives_it_and_all_markings_unite() -> None:
    """Also the markings of rules after it, and those of the access list."""
    rules = (
        IngestRule("hr/**", None, ("mark:pii",)),
        IngestRule("hr/pay/*", "coll:pay", ("mark:secret",)),
        IngestRule("hr/**", "coll:hr", ("mark:old",)),
        IngestRule("it/**", "coll:it", ("mark:no",)),
    )
    shelving = Shelving("coll:rest", rules, {"hr/pay/a": AclLine(("role:hr",), ("mark:acl",))})
    shelf = shelve("hr/pay/a", shelving, ROLES)
    readers = readers_digest({"role:hr"})
    marks = {"mark:pii", "mark:secret", "mark:old", "mark:acl"}
    assert shelf == Shelf(frozenset({"coll:pay", readers, *marks}), {readers: frozenset({"role:hr"})})
    assert shelve("x", shelving, ROLES) == Shelf(frozenset({"coll:rest"}), {})


def test_markings_alone_shelve_nothing() -> None:
    """With an access list it is unlisted, without one refused."""
    rules = (IngestRule("**", None, ("mark:pii",)),)
    assert isinstance(shelve("a", Shelving(None, rules), ROLES), Refused)
    assert isinstance(shelve("a", Shelving(None, rules, {}), ROLES), Unlisted)


def test_a_reader_list_is_one_set_whatever_its_order() -> None:
    """So that documents of the same readers share an access class."""
    lines, bad = parse_acl(
        '{"path": "a", "readers": ["role:hr", "user:x", "role:hr"]}\r\n\n'
        '{"path": "b", "readers": ["user:x", "role:hr"]}'
    )
    assert bad == {}
    assert lines["a"].readers == lines["b"].readers
    assert shelve("a", Shelving(None, (), lines), ROLES) == shelve("b", Shelving(None, (), lines), ROLES)


@pytest.mark.parametrize(
    "line",
    [
        {"path": "a"},
        {"path": "a", "readers": None},
        {"path": "a", "readers": "role:hr"},
        {"path": "a", "readers": ["hr"]},
        {"path": "a", "readers": ["coll:hr"]},
        {"path": "a", "readers": ["role:"]},
        {"path": "a", "readers": [7]},
        {"path": "a", "readers": ["user:a,b"]},
        {"path": "a", "readers": [], "markings": "pii"},
        {"path": "a", "readers": [], "markings": [None]},
        {"path": "a", "readers": [], "markings": [""]},
        {"path": "../a", "readers": []},
    ],
)
def test_a_line_that_cannot_be_used_refuses_its_document_alone(line: dict[str, object]) -> None:
    """Also where a collection would take it in: what was meant is not known."""
    lines, bad = parse_acl(json.dumps(line))
    assert lines == {}
    assert bad.keys() == {line["path"]}
    shelving = Shelving("coll:open", (), lines, bad)
    assert isinstance(shelve(str(line["path"]), shelving, ROLES), Refused)
    assert isinstance(shelve("other", shelving, ROLES), Shelf)


@settings(max_examples=40)
@given(text=st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode(errors="replace")))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but `ShelvingError` comes of a file that is not what it should be."""
    for parse in (parse_acl, parse_rules_yaml):
        with contextlib.suppress(ShelvingError):
            parse(text)
