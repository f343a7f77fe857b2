"""A plan in words: what a terminal and a comment on a change say of it, within bounds whatever it holds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from usher.core.impact_words import GroupWords, ImpactWords, Listed, Shelf, Shelves, Side, Whom
from usher.core.plan_words import (
    MAX_LINES,
    MAX_MARKDOWN,
    Diff,
    FailedCase,
    Found,
    Moved,
    PlanWords,
    diff_lines,
    lines,
    markdown,
)

RULE = "p, role:hr, coll:hr, document.read, allow, always"
BOB = GroupWords(
    Whom(Listed(("user:bob",))), Side(Shelves((Shelf("coll:hr", whole=True, classes=1, documents=3),))), Side(), True
)
PLAN = PlanWords(
    base=3,
    digest="d" * 64,
    sound=True,
    may_come=True,
    needs_approval=True,
    cases=2,
    diff=Diff(added=(RULE,), documents=("links.yaml",), cases=("people.yaml",)),
    impact=ImpactWords((BOB,), gaining=1),
    gains=("user:bob: document.read on coll:hr",),
)


def test_a_plan_is_told_line_by_line() -> None:
    """Rules, files, people, and what comes next."""
    assert lines(PLAN) == [
        f"+ {RULE}",
        "links.yaml is changed",
        "cases/people.yaml is changed",
        "`bob` gains `hr` (3 documents)",
        "It takes the approval of somebody else.",
    ]


@pytest.mark.parametrize(
    ("change", "last"),
    [
        ({"needs_approval": False}, "It takes no approval: nobody gains."),
        ({"diff": Diff()}, "Nothing changes."),
        ({"may_come": False, "refusals": ("it may not be",)}, "It cannot be activated."),
        ({"may_come": False, "moved": Moved(4, Diff())}, "It cannot be activated."),
    ],
)
def test_the_last_line_says_what_comes_next(change: dict[str, Any], last: str) -> None:
    """Also in a comment."""
    plan = replace(PLAN, **change)
    assert lines(plan)[-1] == last
    assert f"**{last}**" in markdown(plan)


def test_an_unsound_policy_is_told_by_its_findings_alone() -> None:
    """Nothing else is known of it."""
    found = Found(7, "effect 'Deny' would be ignored", "write allow or deny", "error")
    case = FailedCase("bob does not", "user:bob", "coll:hr", "document.read", "deny")
    told = lines(replace(PLAN, sound=False, may_come=False, findings=(found,), failed=(case,)))
    assert told == [
        "error, line 7: effect 'Deny' would be ignored; write allow or deny",
        "case bob does not: user:bob document.read coll:hr was to be deny, and is not",
    ]


def test_a_plan_goes_over_http_and_back() -> None:
    """What the command line gets is what the server had."""
    assert msgspec.convert(msgspec.to_builtins(PLAN), PlanWords) == PLAN
    assert msgspec.json.decode(msgspec.json.encode(PLAN), type=PlanWords) == PLAN


def test_names_in_a_comment_are_no_markup() -> None:
    """No name ends a block, a code span, or mentions somebody."""
    nasty = "p, user:```@all, coll:hr, document.read, allow, always"
    found = Found(1, "'`@all` <b>' is of the wrong kind", "write `x`", "error")
    text = markdown(replace(PLAN, diff=Diff(added=(nasty,)), findings=(found,)))
    fence = re.search(r"^(`{3,})diff\n(.*?)^\1$", text, re.MULTILINE | re.DOTALL)
    assert fence is not None
    assert fence[2] == f"+ {nasty}\n"
    assert "`` '`@all` <b>' is of the wrong kind; write `x` ``" in text


def test_a_comment_has_a_bound() -> None:
    """A million changed rules are counted, and what is wrong with them too."""
    many = tuple(f"p, user:u{n}{'x' * 200}, coll:hr, document.read, allow, always" for n in range(5_000))
    findings = tuple(Found(n, "m" * 4_000, "r", "error") for n in range(500))
    failed = tuple(FailedCase("c" * 2_000, "user:a", "coll:b" * 300, "document.read", "deny") for _ in range(500))
    diff = Diff(many, many, many, many)
    text = markdown(replace(PLAN, findings=findings, failed=failed, refusals=many, diff=diff))
    assert len(text) <= MAX_MARKDOWN
    assert re.search(r"and 49\d\d more", text)
    assert len(diff_lines(diff)) <= 4 * (MAX_LINES + 1)
