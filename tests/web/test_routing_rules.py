"""The rules of `routing.yaml` bind the next question, and the record says which one decided."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.web.chat_kit import QUESTION
from tests.web.world import POLICY, World, world

HELP = "rules:\n  - {name: help, route: adapter, otherwise: %s}\n"
PLACES = "rules:\n  - {name: places, route: refuse, collection: %s, words: [holiday]}\n"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(Path(tmp_path_factory.mktemp("routing"))) as made:
        yield made


def route_by(usher: World, routing: str, question: str = QUESTION) -> dict[str, object]:
    """The recorded route of a question, which the answer tells of too."""
    usher.run(usher.apply(POLICY, **({"routing.yaml": routing} if routing else {})))
    answered = usher.chat(question)
    recorded = next(event for event in usher.newest() if event["type"] == "decision")["route"]
    if answered.status_code == 200:
        assert answered.json()["usher"]["route"] == {key: recorded[key] for key in ("kind", "reasons")}
    else:
        assert answered.status_code == 403
        assert answered.json()["error"]["code"] == recorded["reasons"][0] == "refused_by_rule"
        assert [event["type"] for event in usher.newest()] == ["request", "decision", "answer"]
    assert isinstance(recorded, dict)
    return recorded


def test_a_rule_decides_over_the_next_question(usher: World) -> None:
    """Without an adapter its `otherwise` holds; a refusal retrieves nothing; without rules it is as it was."""
    assert route_by(usher, "") == {"kind": "retrieve", "reasons": []}
    retrieved = {"kind": "retrieve", "reasons": ["no_eligible_adapter"], "rule": "help"}
    assert route_by(usher, HELP % "retrieve") == retrieved
    refused = {"kind": "refuse", "reasons": ["refused_by_rule", "no_eligible_adapter"], "rule": "help"}
    assert route_by(usher, HELP % "refuse") == refused


def test_a_rule_on_a_collection_is_for_those_who_may_read_something_in_it(usher: World) -> None:
    """And only where the question has one of its words."""
    assert route_by(usher, PLACES % "handbook")["kind"] == "refuse"
    assert route_by(usher, PLACES % "nowhere")["kind"] == "retrieve"
    assert route_by(usher, PLACES % "handbook", "How long is the notice?")["kind"] == "retrieve"
