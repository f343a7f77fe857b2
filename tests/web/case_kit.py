"""Cases and what stands in them, for the tests of `/api/audit/cases`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
from tests.web.world import POLICY, World

PATH = "/api/audit/cases"
TITLE, NOTE = "The aardvark affair", "Ask the walrus about it."
BUDGET = "What is the travel budget?"
HOLIDAY = "How many days of holiday has every employee?"
RULES = POLICY + "".join(
    f"{line}\n"
    for line in (
        "p, role:reviewer, sys:audit, audit.read, allow, always",
        "p, role:reviewer, sys:audit, audit.review, allow, always",
        "p, role:reviewer, sys:audit, audit.identify, allow, always",
        "g, user:erin, role:reviewer",
        "g, user:carol, role:reviewer",
        "g, user:alice, role:reviewer",
        "p, role:local, coll:finance, audit.read, allow, always",
        "p, role:local, coll:finance, audit.review, allow, always",
        "g, user:fred, role:local",
        "g, user:hank, role:auditor",
        "p, user:hank, coll:finance, audit.review, allow, always",
        "p, user:gina, sys:chat, chat.ask, allow, always",
        "p, user:gina, coll:finance, document.read, allow, always",
    )
)


def exchange(usher: World, who: str = "alice", question: str = BUDGET) -> str:
    return str(usher.chat(question, who).json()["usher"]["audit_id"])


def opened(usher: World, who: str = "erin", title: str = TITLE) -> str:
    response = usher.ask("POST", PATH, who, json={"title": title})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def change(usher: World, case: str, what: str, who: str = "erin", **body: Any) -> httpx.Response:
    if "version" not in body:
        body["version"] = shown(usher, case, who)["version"]
    return usher.ask("POST", f"{PATH}/{case}/{what}", who, json=body)


def add(usher: World, case: str, exchanges: Sequence[str], who: str = "erin", **more: Any) -> httpx.Response:
    return change(usher, case, "exchanges", who, exchanges=list(exchanges), **more)


def shown(usher: World, case: str, who: str = "erin", **query: Any) -> dict[str, Any]:
    response = usher.ask("GET", f"{PATH}/{case}", who, params=query)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def pseudonym(usher: World, who: str) -> str:
    return usher.run(usher.services.ledger.pseudonym(who))
