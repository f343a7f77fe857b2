"""The tries against the routes of the audit log, for `test_two_people.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.web.hostile import ALICE, Try

HOLDS = "/api/audit/holds"
CASE = "/api/audit/cases/0193a0e1-7b1c-7000-8000-000000000001"
PROPOSALS, ERASE = "/api/audit/proposals", "/api/audit/erase"

RIGHTS: Mapping[tuple[str, str], Sequence[Try]] = {
    ("GET", "/api/audit/events"): [
        Try(),
        Try(query={"outcome": "answered"}),
        Try(query={"audit_id": "ID"}, of="exchange"),
    ],
    ("GET", "/api/audit/who-saw"): [
        Try(query={"document": "ID"}, of="document"),
        Try(query={"path": "finance/plan.md"}),
    ],
    ("GET", "/api/audit/saw"): [Try(query={"person": ALICE}), Try(query={"person": ALICE, "names": "true"})],
    ("GET", "/api/audit/denied"): [Try(), Try(query={"names": "true"})],
    ("GET", "/api/audit/by-adapter"): [Try(query={"adapter": "x"})],
    ("GET", "/api/audit/touched"): [Try(query={"marking": "mark:pii"})],
    ("GET", "/api/audit/narrowed"): [Try(query={"version": "1"})],
    ("GET", "/api/audit/break-glass"): [Try()],
    ("GET", "/api/audit/uses"): [Try()],
    ("POST", "/api/audit/unseal"): [Try(json={"exchange": "ID", "reason": "I want to know"}, of="exchange")],
    ("GET", "/api/audit/replay/{audit_id:str}"): [
        Try(path="/api/audit/replay/ID", of="exchange"),
        Try(path="/api/audit/replay/ID", of="exchange", query={"names": "true", "policy": "1"}),
    ],
    ("GET", "/api/audit/export"): [
        Try(),
        Try(query={"document": "ID", "format": "csv"}, of="document"),
        Try(query={"person": ALICE, "names": "true"}),
    ],
    ("GET", "/api/audit/cases"): [Try(), Try(query={"after": "ID"}, of="exchange")],
    ("POST", "/api/audit/cases"): [Try(json={"title": "Mine"})],
    ("GET", "/api/audit/cases/{case:str}"): [Try(path="/api/audit/cases/ID", of="exchange")],
    ("POST", "/api/audit/cases/{case:str}/exchanges"): [
        Try(path=f"{CASE}/exchanges", json={"version": 1, "exchanges": ["ID"]}, of="exchange"),
        Try(path=f"{CASE}/exchanges", json={"version": 1, "query": {"person": ALICE}}),
    ],
    ("POST", "/api/audit/cases/{case:str}/notes"): [Try(path=f"{CASE}/notes", json={"version": 1, "text": "x"})],
    ("POST", "/api/audit/cases/{case:str}/decision"): [
        Try(path=f"{CASE}/decision", json={"version": 1, "decision": "fine"})
    ],
    ("GET", "/api/audit/report"): [Try(), Try(query={"names": "true"})],
    ("GET", "/api/audit/proof/{number:str}"): [Try(path="/api/audit/proof/1"), Try(path="/api/audit/proof/999999")],
    ("GET", "/api/audit/consistency"): [Try(query={"size": "1"}), Try(query={"size": "999999"})],
    ("GET", HOLDS): [Try()],
    ("POST", HOLDS): [Try(json={"on": "exchange", "target": "ID", "reason": "I want to know"}, of="exchange")],
    ("POST", f"{HOLDS}/{{hold:str}}/release"): [Try("exchange", path=f"{HOLDS}/ID/release", json={"reason": "why"})],
    ("GET", PROPOSALS): [Try(), Try(query={"names": "true"})],
    **{
        ("POST", f"{PROPOSALS}/{{proposal:str}}/{act}"): [Try("exchange", path=f"{PROPOSALS}/ID/{act}")]
        for act in ("refuse", "withdraw", "carry-out", "review")
    },
    ("POST", f"{PROPOSALS}/{{proposal:str}}/approve"): [
        Try("exchange", path=f"{PROPOSALS}/ID/approve", json={"digest": "0" * 64})
    ],
    ("POST", ERASE): [
        Try(json={"user": ALICE, "reason": "I want it gone"}),
        Try(json={"document": "ID", "reason": "I want it gone"}, of="document"),
    ],
}
"""Routes about everybody's things."""

OPERATORS = {
    ("GET", "/operator/audit/events"),
    ("GET", "/operator/audit/proof/{number:str}"),
    ("GET", "/operator/audit/consistency"),
    ("GET", "/operator/audit/who-saw"),
    ("GET", "/operator/audit/holds"),
    ("POST", "/operator/audit/retention"),
    ("GET", "/operator/audit/saw"),
    ("GET", "/operator/audit/denied"),
    ("GET", "/operator/audit/by-adapter"),
    ("GET", "/operator/audit/touched"),
    ("GET", "/operator/audit/narrowed"),
    ("GET", "/operator/audit/break-glass"),
    ("GET", "/operator/audit/uses"),
    ("POST", "/operator/audit/unseal"),
    ("GET", "/operator/audit/replay/{audit_id:str}"),
    ("GET", "/operator/audit/cases"),
    ("POST", "/operator/audit/cases"),
    ("GET", "/operator/audit/cases/{case:str}"),
    ("POST", "/operator/audit/cases/{case:str}/exchanges"),
    ("POST", "/operator/audit/cases/{case:str}/notes"),
    ("POST", "/operator/audit/cases/{case:str}/decision"),
    ("GET", "/operator/audit/export"),
    ("GET", "/operator/audit/report"),
    ("GET", "/operator/audit/proposals"),
    ("POST", "/operator/audit/proposals/{proposal:str}/withdraw"),
    ("POST", "/operator/audit/erase"),
    ("POST", "/operator/audit/proposals/{proposal:str}/carry-out"),
}
"""The same and more, for whoever reaches the operator's socket."""
