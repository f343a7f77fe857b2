"""Data sets for adapters: only of what everybody with the role may read, recorded before they leave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.web.world import DOCUMENTS, World, world

from usher.app import create_operator_app
from usher_lora.training_set import training_set

WORDS = ("bicycles", "projectors", "ladders", "kettles", "scooters", "canoes", "tents", "drills")
PAPERS = {
    f"handbook/paper{number}.md": (
        f"# Paper {number}\n\nRule {number} says that {word} may be used by whoever has signed for {word} before.\n\n"
        f"## Who signs for {word}?\n\nThe desk of floor {number} signs for {word} in the first week of a month.\n"
    )
    for number, word in enumerate(WORDS)
}
WANTED = {"role": "role:finance", "collections": ["coll:handbook", "coll:finance", "coll:board"]}


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("data"), documents={**DOCUMENTS, **PAPERS}) as made:
        made.app = create_operator_app(made.services)
        yield made


def make(usher: World, who: str | None = None, **more: Any) -> httpx.Response:
    path = "/operator/adapters/datasets" if who is None else "/api/adapters/datasets"
    return usher.ask("POST", path, who, json={**WANTED, **more})


def files(response: httpx.Response) -> tuple[dict[str, bytes], dict[str, Any]]:
    found: dict[str, bytes] = {}
    report: dict[str, Any] = {}
    assert response.status_code == 200, response.text
    for line in response.text.splitlines():
        event = json.loads(line)
        assert event["event"] != "error", event
        if event["event"] == "file":
            found[event["name"]] = found.get(event["name"], b"") + event["text"].encode()
        if event["event"] == "report":
            report = event
    return found, report


def test_a_data_set_has_only_what_the_role_opens(usher: World) -> None:
    """The handbook by inheritance and finance's own; nothing of the board, though its collection was named."""
    found, report = files(make(usher))
    text = b"".join(found.values()).decode()
    assert "zanzibar" not in text
    assert "Tromso" not in text
    assert training_set(found).digest == report["digest"]
    assert "bicycles" in text
    assert report["holders"] == 1
