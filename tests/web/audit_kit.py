"""A world with reviewers of different rights, and what they ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.web.world import POLICY, World, world

REVIEWERS = """\
p, role:all, sys:audit, audit.read, allow, always
p, role:all, sys:audit, audit.identify, allow, always
p, role:all, sys:audit, audit.unseal, allow, always
p, role:finrev, coll:finance, audit.read, allow, always
p, role:finrev, coll:finance, audit.identify, allow, always
p, role:finrev, coll:finance, audit.unseal, allow, always
p, role:cut, sys:audit, audit.read, allow, always
p, role:cut, coll:board, audit.read, deny, always
p, role:head, sys:audit, audit.review, allow, always
g, user:olga, role:all
g, user:frank, role:finrev
g, user:grace, role:cut
g, user:heidi, role:head
"""
"""olga may all; frank as much, of finance alone; grace reads all but the board's; heidi reviews the reviewers."""

BUDGET = "What is the travel budget of the whole company?"
HOLIDAY = "How many days of holiday has an employee?"
MERGER = "When does the zanzibar merger close?"


@contextmanager
def reviewed(folder: Path) -> Iterator[World]:
    with world(folder) as made:
        made.run(made.apply(POLICY + REVIEWERS))
        for name in ("olga", "frank", "grace", "heidi"):
            made.run(made.add(name))
        yield made


def answered(usher: World, question: str, who: str, conversation: str | None = None) -> dict[str, Any]:
    """The `usher` object of an answer."""
    headers = {} if conversation is None else {"x-usher-conversation": conversation}
    body = {"model": "assistant", "messages": [{"role": "user", "content": question}]}
    response = usher.ask("POST", "/v1/chat/completions", who, json=body, headers=headers)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["usher"]
    return found


def asked(usher: World, question: str, who: str, **query: Any) -> dict[str, Any]:
    response = usher.ask("GET", f"/api/audit/{question}", who, params=query)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def document_of(usher: World, path: str) -> str:
    """The id of a document, as the operator may know it."""
    found = usher.run(usher.services.audit.questions._names._documents.at(path, None))
    return str(found[0])
