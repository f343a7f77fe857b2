"""Exchanges that their askers gave for training: only with their leave, and only with all that they rest on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.web.test_adapter_data import PAPERS, files
from tests.web.world import DOCUMENTS, POLICY, World, world

from usher_lora.lineage import Lineage, parse

QUESTION = "Who signs for the green kettles on floor three, asks the {}?"


THINGS = (
    "pens",
    "inks",
    "maps",
    "lamps",
    "rugs",
    "clocks",
    "doors",
    "walls",
    "roofs",
    "bins",
    "cups",
    "forks",
    "nails",
)
MANY = {
    f"handbook/note{number}.md": f"# Note {number}\n\nNote {number} tells of {word}, and of {word} on day {number}.\n"
    for number, word in enumerate(THINGS)
}
"""So many that training has room for all that an answer rests on."""


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The tests leave behind what they gave leave for, each with an animal of its own."""
    with world(tmp_path_factory.mktemp("data"), documents={**DOCUMENTS, **PAPERS, **MANY}) as made:
        made.app = made.operator_app()
        yield made


def asked(usher: World, animal: str, who: str = "bob", question: str = QUESTION) -> str:
    return str(usher.chat(question.format(animal), who).json()["usher"]["audit_id"])


def give(usher: World, exchange: str, who: str = "bob", **more: Any) -> None:
    body = {"exchange": exchange, "verdict": "up", "train": True, **more}
    assert usher.ask("POST", "/api/feedback", who, json=body).status_code == 201


def learned(usher: World, role: str = "role:employee") -> tuple[str, Lineage]:
    """All that is in a data set of everything, as text, and its lineage."""
    shelves = ["coll:handbook", "coll:finance", "coll:board"]
    body = {"role": role, "collections": shelves, "makers": ["structure", "exchanges"]}
    found, _ = files(usher.ask("POST", "/operator/adapters/datasets", None, json=body))
    return b"".join(found.values()).decode(), parse(found["lineage.json"])


def test_an_exchange_is_learned_with_its_askers_leave(usher: World) -> None:
    """The lineage has the pseudonym; without `train` nothing of it is there."""
    exchange = asked(usher, "marmoset")
    give(usher, exchange, train=False)
    assert "marmoset" not in learned(usher)[0]
    give(usher, exchange)
    text, lineage = learned(usher)
    assert "marmoset" in text
    assert lineage.subjects == (usher.run(usher.services.ledger.pseudonym("bob")),)
    assert "bob" not in str(usher.events())
    assert usher.events()[-1]["subjects"] == list(lineage.subjects)


def test_an_exchange_that_rests_on_more_than_the_role_opens_is_not_learned(usher: World) -> None:
    """Alice's answer is made of finance's paper too, and is nothing for every employee; for finance it is."""
    give(usher, asked(usher, "dormouse", "alice", "What is the travel budget of the {}?"), "alice")
    assert "dormouse" not in learned(usher)[0]
    assert "dormouse" in learned(usher, "role:finance")[0]


def test_a_bad_word_is_learned_only_with_a_better_answer(usher: World) -> None:
    """Then it is the better answer that is learned."""
    exchange = asked(usher, "walrus")
    give(usher, exchange, verdict="down")
    assert "walrus" not in learned(usher)[0]
    give(usher, exchange, verdict="down", correction="The desk of the lemur signs for green kettles.")
    assert "lemur" in learned(usher)[0]


def test_what_was_answered_from_an_earlier_version_is_not_learned(usher: World) -> None:
    """A document's new version may no longer say it."""
    give(usher, asked(usher, "pangolin"))
    changed = {path: text + "\nThis is another version of the paper.\n" for path, text in PAPERS.items()}
    usher.run(usher.ingest({**DOCUMENTS, **changed, **MANY}))
    assert "pangolin" not in learned(usher)[0]


def test_a_leave_can_be_taken_back(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever learned from that person is told, once; the next data set has nothing of it."""
    told: list[str] = []

    async def withdrew(subject: str) -> None:
        told.append(subject)

    monkeypatch.setattr(usher.services.feedback, "_withdrew", withdrew)
    exchange = asked(usher, "ocelot")
    give(usher, exchange)
    give(usher, exchange, reason="It was a good one.")
    assert told == []
    give(usher, exchange, train=False)
    give(usher, exchange, train=False)
    assert told == [usher.run(usher.services.ledger.pseudonym("bob"))]
    assert "ocelot" not in learned(usher)[0]


def test_what_is_deleted_is_not_learned_any_more(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The conversation goes, and its exchanges with it; what learned from its person is told. The leave is recorded."""
    told: list[str] = []

    async def withdrew(subject: str) -> None:
        told.append(subject)

    monkeypatch.setattr(usher.services.feedback, "_withdrew", withdrew)
    asked(usher, "numbat", "alice")
    other = usher.ask("GET", "/api/conversations", "alice").json()["conversations"][0]
    assert usher.ask("DELETE", f"/api/conversations/{other['id']}", "alice").status_code == 204
    assert told == []
    exchange = asked(usher, "tapir")
    give(usher, exchange)
    event = usher.events()[-1]
    assert (event["type"], event["train"]) == ("feedback", True)
    talk = usher.ask("GET", "/api/conversations", "bob").json()["conversations"][0]
    assert usher.ask("DELETE", f"/api/conversations/{talk['id']}", "bob").status_code == 204
    assert "tapir" not in learned(usher)[0]
    assert told == [usher.run(usher.services.ledger.pseudonym("bob"))]


def test_a_document_that_widens_later_does_not_bring_old_answers(usher: World) -> None:
    """Who may read what the answer rests on is judged by now: a narrower policy takes it away."""
    give(usher, asked(usher, "quokka"))
    usher.run(usher.apply(POLICY + "p, user:bob, coll:handbook, document.read, deny, always\n"))
    body = {"role": "role:employee", "collections": ["coll:handbook"], "makers": ["exchanges", "structure"]}
    assert usher.ask("POST", "/operator/adapters/datasets", None, json=body).json()["field"] == "collections"
