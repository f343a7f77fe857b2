"""What the tests of uploads share: who may fill which collection, and how a file is sent."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from tests.web.chat_kit import FailingLog
from tests.web.world import World, world

from usher.backends.memory import MemoryStore

PATH = "/api/documents"
RIGHTS = (
    "p, role:editor, coll:handbook, document.ingest, allow, always",
    "p, user:alice, coll:finance, document.ingest, allow, always",
    "p, user:frank, coll:finance, document.ingest, allow, always",
    "p, user:carol, coll:board, document.ingest, allow, always",
    "g, user:bob, role:editor",
    "g, user:alice, role:editor",
)
"""bob fills the handbook, alice finance too; frank fills finance and may read nothing; carol fills the board's shelf,
where every paper has a marking."""
TEXT = "# Trains\n\nTake the zeppelin below 400 km.\n"


@contextmanager
def shelves(folder: Path, **more: Any) -> Iterator[World]:
    """A world whose people have these rights, with a ledger that can be filled up."""
    with world(folder, log=FailingLog, **more) as made:
        made.run(made.apply_also(*RIGHTS))
        made.run(made.add("frank"))
        yield made


def put(usher: World, who: str, text: str | bytes | None = TEXT, name: str = "trains.md", **fields: Any) -> Any:
    """One upload, into the handbook unless said otherwise."""
    content = text.encode() if isinstance(text, str) else text
    file = {} if content is None else {"file": (name, content)}
    form = {"collection": (None, "handbook"), **{field: (None, value) for field, value in fields.items()}}
    return usher.ask("POST", PATH, who, files={**form, **file})


def added(usher: World, who: str, text: str = TEXT, name: str = "trains.md", **fields: Any) -> str:
    """The id of a document that is new."""
    answer = put(usher, who, text, name, **fields)
    assert (answer.status_code, answer.json()["outcome"]) == (201, "added")
    return str(answer.json()["document"])


def listed(usher: World, who: str) -> dict[str, str]:
    """Document -> its title, of all that somebody may read."""
    documents = usher.ask("GET", f"{PATH}?limit=500", who).json()["documents"]
    return {document["id"]: document["path"] for document in documents}


def found(usher: World, who: str, question: str) -> set[str]:
    """The documents whose passages have a word of the question."""
    hits = usher.search(question, who).json()["hits"]
    return {hit["document"] for hit in hits if any(word in hit["text"] for word in question.split())}


def ident(usher: World, who: str, path: str) -> str:
    """The id of a document that somebody may read."""
    return next(one for one, listed_path in listed(usher, who).items() if listed_path == path)


def chunk(usher: World, who: str, question: str, document: str) -> str:
    """The passage of the document that a question finds."""
    return next(hit["chunk"] for hit in usher.search(question, who).json()["hits"] if hit["document"] == document)


def told(answer: httpx.Response) -> tuple[Any, ...]:
    """All that a client learns of an answer."""
    return answer.status_code, answer.text, str(answer.headers)


def state(usher: World) -> tuple[Any, ...]:
    """All that an upload could leave behind: rows, points of the store, and events of the ledger."""
    tables = ("document", "document_version", "chunk", "outbox")
    with closing(sqlite3.connect(usher.folder / "home" / "usher.sqlite")) as connection:
        rows = [sorted(map(repr, connection.execute(f"SELECT * FROM {table}"))) for table in tables]  # noqa: S608  # names of our own
    store = cast("MemoryStore", usher.services.retrieve._store)
    points = sorted((str(point.chunk), point.access_class) for point in store._points.values())
    return rows, points, [event for event in usher.events() if event["type"] in ("document", "label")]


def during(part: Any, method: str, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Do something before each call of a part's method goes on; what it gave is in the list."""
    call, results = getattr(part, method), []

    async def acting(*args: Any) -> Any:
        results.append(await act())
        return await call(*args)

    monkeypatch.setattr(part, method, acting)
    return results
