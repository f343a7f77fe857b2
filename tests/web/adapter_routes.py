"""The tries against the routes of adapters, for `test_two_people.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.web.hostile import Try

ADAPTERS = "/api/adapters"
ONE = f"{ADAPTERS}/{{adapter:str}}"
NAME = "support@sha256:" + "0" * 64

RIGHTS: Mapping[tuple[str, str], Sequence[Try]] = {
    ("GET", ADAPTERS): [Try()],
    ("GET", f"{ADAPTERS}/plan"): [Try()],
    ("POST", f"{ADAPTERS}/datasets"): [
        Try(json={"role": "role:employee", "collections": ["coll:finance"], "name": "support"})
    ],
    ("GET", ONE): [Try("exchange", path=f"{ADAPTERS}/ID"), Try(path=f"{ADAPTERS}/{NAME}")],
    **{
        ("POST", f"{ONE}/{act}"): [Try("exchange", path=f"{ADAPTERS}/ID/{act}", json={"digest": "0" * 64})]
        for act in ("approve", "publish", "retire", "quarantine", "reopen")
    },
}
"""Routes about everybody's adapters: without a right to decide on any there is one answer."""

OPERATORS = {
    ("GET", "/operator/adapters"),
    ("GET", "/operator/adapters/plan"),
    ("POST", "/operator/adapters/datasets"),
    ("POST", "/operator/adapters"),
    ("POST", "/operator/authored-adapters"),
    ("GET", "/operator/adapters/{adapter:str}"),
    ("POST", "/operator/adapters/check"),
    ("GET", "/operator/adapter-serving"),
    ("GET", "/operator/adapter-serving/config"),
    *{
        ("POST", f"/operator/adapters/{{adapter:str}}/{act}")
        for act in ("evaluated", "publish", "retire", "quarantine")
    },
}
