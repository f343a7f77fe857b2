"""The tries against what people may learn of the policy, for `test_two_people.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.web.hostile import ALICE, Try

POLICY = "/api/policy"
ROUTE = "/api/route/explain"
REPLAY = "/changesets/{changeset:str}/replay"

OWN: Mapping[tuple[str, str], Sequence[Try]] = {
    ("GET", f"{POLICY}/explain"): [Try(query={"object": "coll:finance"}), Try(query={"object": "coll:letters"})],
    ("GET", ROUTE): [Try(query={"q": "Where is the new office?"}), Try(query={"q": "ID"}, of="document")],
}
"""One's own decision, and how one's own question would be answered; nothing of Alice's is in it."""

RIGHTS: Mapping[tuple[str, str], Sequence[Try]] = {
    ("GET", f"{POLICY}/explain"): [Try(query={"object": "coll:finance", "user": name}) for name in (ALICE, "nobody")],
    ("GET", ROUTE): [Try(query={"q": "x", "user": name}) for name in (ALICE, "nobody")],
    ("GET", f"{POLICY}/who"): [Try(query={"object": "coll:finance"}), Try(query={"object": "coll:nowhere"})],
    ("GET", f"{POLICY}/what"): [Try(query={"user": ALICE}), Try(query={"user": "nobody"})],
    ("GET", f"{POLICY}/matrix.csv"): [Try(), Try(query={"action": "document.read", "object": "coll:finance"})],
    ("GET", f"{POLICY}{REPLAY}"): [
        Try("exchange", path=f"{POLICY}/changesets/ID/replay"),
        Try("exchange", path=f"{POLICY}/changesets/ID/replay", query={"n": "5", "names": "true", "progress": "true"}),
    ],
}
"""About everybody: without `policy.read` there is one answer."""

OPERATORS = {
    ("GET", "/operator/route/explain"),
    *(("GET", f"/operator/policy{path}") for path in ("/explain", "/who", "/what", "/matrix.csv", REPLAY)),
}
