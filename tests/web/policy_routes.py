"""The tries against the routes of the policy, for `test_two_people.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.web.hostile import Try

POLICY = "/api/policy"
CHANGESET = f"{POLICY}/changesets/{{changeset:str}}"
RULES = "p, user:mallory, coll:finance, document.read, allow, always"
WHOLE: Mapping[str, Any] = {"rules_text": RULES, "documents": {}, "cases": {}}
MATCH = {"if-match": '"policy-2"'}
NUMBER: Mapping[tuple[str, str], Sequence[Try]] = {("GET", POLICY): [Try()]}
"""The number of the version in force, which everybody may know."""

RIGHTS: Mapping[tuple[str, str], Sequence[Try]] = {
    ("GET", f"{POLICY}/versions"): [Try(), Try(query={"after": "2"})],
    ("GET", f"{POLICY}/versions/{{version:str}}"): [
        Try(path=f"{POLICY}/versions/1"),
        Try(path=f"{POLICY}/versions/999999"),
    ],
    ("GET", f"{POLICY}/diff"): [Try(query={"from": "1"}), Try(query={"from": "1", "to": "999999"})],
    ("POST", f"{POLICY}/plan"): [Try(json=WHOLE)],
    ("POST", f"{POLICY}/edits/plan"): [Try(json={"add": [RULES]})],
    ("POST", f"{POLICY}/apply"): [Try(json=WHOLE)],
    ("POST", f"{POLICY}/changesets"): [
        Try(json=WHOLE, header=MATCH),
        Try(json={**WHOLE, "supersedes": "ID"}, header=MATCH, of="exchange"),
    ],
    ("POST", f"{POLICY}/edits"): [Try(json={"add": [RULES]}, header=MATCH)],
    ("POST", f"{POLICY}/rollback"): [Try(json={"version": 1}), Try(json={"version": 999_999})],
    ("GET", f"{POLICY}/changesets"): [Try(), Try(query={"after": "ID"}, of="exchange")],
    ("GET", CHANGESET): [Try("exchange", path=f"{POLICY}/changesets/ID")],
    **{
        ("POST", f"{CHANGESET}/{act}"): [Try("exchange", path=f"{POLICY}/changesets/ID/{act}")]
        for act in ("refuse", "withdraw", "review")
    },
    **{
        ("POST", f"{CHANGESET}/{act}"): [
            Try("exchange", path=f"{POLICY}/changesets/ID/{act}", json={"digest": "0" * 64, "reason": "x"})
        ]
        for act in ("approve", "activate", "break-glass")
    },
}
"""Routes about everybody's policy: without a right to it there is one answer."""

OPERATORS = {
    ("GET", "/operator/policy"),
    ("GET", "/operator/policy/versions"),
    ("GET", "/operator/policy/versions/{version:str}"),
    ("GET", "/operator/policy/diff"),
    ("POST", "/operator/policy/plan"),
    ("POST", "/operator/policy/edits/plan"),
    ("POST", "/operator/policy/apply"),
    ("POST", "/operator/policy/changesets"),
    ("POST", "/operator/policy/edits"),
    ("POST", "/operator/policy/rollback"),
    ("GET", "/operator/policy/changesets"),
    ("GET", "/operator/policy/changesets/{changeset:str}"),
    ("POST", "/operator/policy/changesets/{changeset:str}/withdraw"),
    ("POST", "/operator/policy/changesets/{changeset:str}/activate"),
}
