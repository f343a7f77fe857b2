"""Somebody who chats: what the tests of conversations ask and look at."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
from tests.web.chat_kit import PATH
from tests.web.world import OPERATOR, World

ROUTE = "/api/conversations"
HOLIDAYS = "How many days of holiday has an employee?"
HOTELS = "What may a hotel cost for one night?"
BUDGET = "How large is the travel budget of the company?"

_numbers = count(1)


@dataclass(frozen=True)
class Asked:
    """Where an exchange is."""

    conversation: str
    audit_id: str


@dataclass(frozen=True)
class Talker:
    """A person of a world, by name."""

    world: World
    name: str
    pseudonym: str

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.world.ask(method, path, self.name, **more)

    def body(self, question: str) -> dict[str, Any]:
        return {"model": "assistant", "messages": [{"role": "user", "content": question}]}

    def ask(self, question: str, conversation: str | None = None) -> tuple[Asked, str]:
        """Where it stands, and its answer."""
        headers = {} if conversation is None else {"x-usher-conversation": conversation}
        response = self.send("POST", PATH, json=self.body(question), headers=headers)
        assert response.status_code == 200, response.text
        said = response.json()
        place = Asked(said["usher"]["conversation_id"], said["usher"]["audit_id"])
        return place, said["choices"][0]["message"]["content"]

    def get(self, path: str) -> dict[str, Any]:
        response = self.send("GET", ROUTE + path)
        assert response.status_code == 200, response.text
        assert response.headers["cache-control"] == "no-store"
        body: dict[str, Any] = response.json()
        return body

    def listed(self) -> list[dict[str, Any]]:
        conversations: list[dict[str, Any]] = self.get("")["conversations"]
        return conversations

    def read(self, conversation: str) -> dict[str, Any]:
        return self.get(f"/{conversation}")

    def create(self, title: str | None) -> dict[str, Any]:
        response = self.send("POST", ROUTE, json={} if title is None else {"title": title})
        assert response.status_code == 201, response.text
        body: dict[str, Any] = response.json()
        return body

    def groups(self, *groups: str) -> None:
        """Exactly these from now on."""
        self.world.run(self.world.services.people.set_groups(self.name, groups, OPERATOR))

    def everything(self) -> str:
        """All that the person can be shown of their conversations, as it was sent."""
        pages = [self.send("GET", ROUTE), *(self.send("GET", f"{ROUTE}/search?q={word}") for word in ("a", "e", "o"))]
        pages += [self.send("GET", f"{ROUTE}/{one['id']}") for one in self.listed()]
        return "\n".join(page.text for page in pages)


def talker(world: World, *groups: str) -> Talker:
    """A new person with a key, in these groups."""
    name = f"talker{next(_numbers)}"
    world.run(world.add(name, groups))
    return Talker(world, name, world.run(world.services.ledger.pseudonym(name)))
