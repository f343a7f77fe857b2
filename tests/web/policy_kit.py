"""A company in which four people keep the policy: alice and dave all of it, erin approves, bob's is the handbook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.web.world import OPERATOR, POLICY, World, world

from usher.policy_admin import PolicySource

ACTIONS = ("read", "propose", "approve", "activate", "rollback")
KEEPERS = (
    "# Who keeps this policy, two people at a time.\n"
    + "".join(f"p, role:keeper, sys:policy, policy.{action}, allow, always\n" for action in ACTIONS)
    + "g, user:alice, role:keeper\ng, user:dave, role:keeper\n"
    + "p, user:carol, coll:handbook, policy.propose, allow, always\n"
)
RULES = POLICY + KEEPERS
CASES = '# What alice may.\n- {user: "user:alice", object: "coll:finance", action: document.read, expect: allow}\n'
SOURCE = PolicySource(RULES, {"links.yaml": "# Hosts.\nhosts: [docs.example.com]\n"}, {"people.yaml": CASES})
WIDER = "g, user:bob, role:finance"
"""What somebody gains something by."""
NARROWER = "g, user:carol, role:board"
"""What nobody gains anything by, if it is removed."""
API = "/api/policy"


@contextmanager
def company(folder: Path) -> Iterator[World]:
    with world(folder) as made:
        made.run(made.services.policy.apply(SOURCE, OPERATOR))
        yield made


class Keeping:
    """What its people do over HTTP."""

    def __init__(self, usher: World) -> None:
        self.usher = usher

    def get(self, path: str, who: str = "dave") -> httpx.Response:
        return self.usher.ask("GET", f"{API}{path}", who)

    def post(self, path: str, who: str, body: Any = None, base: int | None = None, **more: Any) -> httpx.Response:
        headers = {} if base is None else {"if-match": f'"policy-{base}"'}
        return self.usher.ask("POST", f"{API}{path}", who, json=body, headers=headers, **more)

    def base(self) -> int:
        found: int = self.get("").json()["base"]
        return found

    def drafted(self, *add: str, remove: tuple[str, ...] = (), who: str = "dave", **more: Any) -> dict[str, Any]:
        """A draft of single lines."""
        told = self.post("/edits", who, {"add": add, "remove": remove, **more}, self.base())
        assert told.status_code == 201, told.text
        made: dict[str, Any] = told.json()
        return made

    def act(self, act: str, draft: dict[str, Any], who: str, **more: Any) -> httpx.Response:
        """An act on a changeset, of the digest that it has."""
        return self.post(f"/changesets/{draft['id']}/{act}", who, {"digest": draft["digest"], **more})
