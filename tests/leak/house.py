"""A whole Usher with the real engines, in this process: its app is called directly, its children are real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.graph_kit import lend

from usher.app import create_app, open_services
from usher.audit.ranges import Range
from usher.audit.review import EventQuery
from usher.audit.reviewers import Reviewer
from usher.core.standing import Actor
from usher.ingest import IngestOptions
from usher.services import Services
from usher.settings import read_settings

OPERATOR = Actor("operator", "uid:0")


@dataclass
class House:
    services: Services
    clients: Mapping[str, httpx.AsyncClient]
    """One for each person, with their key."""

    async def ask(self, person: str, question: str) -> dict[str, Any]:
        body = {"model": "assistant", "messages": [{"role": "user", "content": question}]}
        return await _post(self.clients[person], "/v1/chat/completions", body)

    async def search(self, person: str, question: str) -> list[dict[str, Any]]:
        found = await _post(self.clients[person], "/api/search", {"q": question, "k": 50})
        return list(found["hits"])

    async def shelf(self, person: str) -> dict[str, str]:
        """Document id -> path, of everything that a person may list."""
        documents: dict[str, str] = {}
        after = ""
        while True:
            page = (await self.clients[person].get(f"/api/documents?limit=100{after}")).raise_for_status().json()
            documents |= {document["id"]: document["path"] for document in page["documents"]}
            if page["next"] is None:
                return documents
            after = f"&after={page['next']}"


async def _post(client: httpx.AsyncClient, path: str, body: object) -> dict[str, Any]:
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@asynccontextmanager
async def house(
    home: Path, graph: Path, policy: Path, people: Iterable[str], options: IngestOptions
) -> AsyncIterator[House]:
    """A new data folder with the documents in it, and a key for each person."""
    lend(graph, home)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(read_settings(home=home, policy=policy)))
        report = [event async for event in services.ingest.run(options, OPERATOR)][-1]
        assert report["refused"] == []
        app = create_app(services)
        await stack.enter_async_context(app.lifespan())
        clients = {}
        for person in people:
            key = (await services.people.create_key(person, None, None, OPERATOR)).key
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(app=app),  # type: ignore[arg-type]  # ASGI in the framework's own types
                base_url="http://usher",
                headers={"authorization": f"Bearer {key}"},
            )
            clients[person] = await stack.enter_async_context(client)
        yield House(services, clients)


async def recorded_documents(services: Services) -> list[tuple[str, str]]:
    """(pseudonym, document id) of every passage in a recorded retrieval: whatever reached a prompt or a client."""
    found: list[tuple[str, str]] = []
    after: int | None = 0
    reviewer = Reviewer(None, "operator:uid:0")
    while after is not None:
        page = await services.audit.review.events(reviewer, EventQuery(Range(after, 500), "retrieval"))
        for event in page.entries:
            found += [(event["who"]["pseudonym"], passage["document"]) for passage in event["passages"]]
        after = page.next
    return found
