"""What the model was asked, as the record can tell it afterwards."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.web.chat_kit import QUESTION, ScriptedModel
from tests.web.world import World, world

from usher.core import prompt as prompts
from usher.core.prompt import ClientTurn
from usher.ledger.record import Kind

MODEL = ScriptedModel()
TURNS = [
    {"role": "system", "content": "Answer in one line.\nBe kind."},
    {"role": "tool", "content": "The calendar says Monday."},
]


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("prompt"), model=MODEL) as made:
        yield made


def ask(usher: World, *turns: dict[str, str], who: str = "bob") -> str:
    """The audit id of one answer."""
    messages = [*turns, {"role": "user", "content": QUESTION}]
    return str(usher.chat(QUESTION, who, messages=messages).json()["usher"]["audit_id"])


def test_the_clients_turns_are_recorded_before_the_model_is_asked(usher: World) -> None:
    """Each that is in the prompt, sealed, with its role; they stand in the record when the model is called."""
    seen: list[str] = []

    async def look() -> None:
        seen.append(usher.recorded(usher.newest()[0]["audit_id"], Kind.CLIENT))

    MODEL.steps = (look, "It is twenty-eight [1].")
    audit_id = ask(usher, *TURNS)
    assert seen == ["system\nAnswer in one line.\nBe kind.tool\nThe calendar says Monday."]
    assert usher.recorded(audit_id, Kind.QUESTION) == QUESTION
    assert usher.recorded(audit_id) == "It is twenty-eight [1]."
    assert usher.events(audit_id)[-1]["content"]["rows"] == len(usher.opened(audit_id)[1])


def test_a_prompt_can_be_rebuilt_from_the_record(usher: World) -> None:
    """Question and turns from their rows, with the passages that the record names, give the prompt committed to."""
    MODEL.steps = ("It is twenty-eight [1].",)
    audit_id = ask(usher, *TURNS)
    conversation, rows = usher.opened(audit_id)
    turns = [ClientTurn(*text.split("\n", 1)) for kind, text in rows if kind is Kind.CLIENT]
    (question,) = [text for kind, text in rows if kind is Kind.QUESTION]
    rebuilt = prompts.assemble(
        question,
        MODEL.requests[-1].passages,
        turns,
        prompts.TEMPLATE,
        MODEL.context_tokens,
        MODEL.requests[-1].max_tokens,
        MODEL.count_tokens,
    )
    messages = json.dumps([dict(message) for message in rebuilt.messages]).encode()
    commitment = hmac.digest(conversation.key, b"prompt " + messages, hashlib.sha256).hex()
    generation = next(event for event in usher.events(audit_id) if event["type"] == "generation")
    assert generation["prompt_commitment"] == commitment


def test_a_turn_that_did_not_fit_is_not_recorded(tmp_path: Path) -> None:
    """The rows are the turns that the prompt holds."""
    model = ScriptedModel("It is twenty-eight [1].")
    with world(tmp_path, model=model) as usher:
        audit_id = ask(usher, {"role": "system", "content": "word " * 8_000}, TURNS[1])
        (generation,) = [event for event in usher.events(audit_id) if event["type"] == "generation"]
        assert generation["client_turns"] == 1
        assert usher.recorded(audit_id, Kind.CLIENT) == "tool\nThe calendar says Monday."


def test_two_people_share_no_cache_of_the_model_server(usher: World) -> None:
    """Each request carries a salt: the same for one person's, another for anybody else's, and no one's name."""
    MODEL.steps = ("It is twenty-eight [1].",)
    salts = []
    for who in ("bob", "bob", "alice"):
        ask(usher, who=who)
        salts.append(MODEL.requests[-1].cache_salt)
    mine, again, other = salts
    assert mine == again != other
    assert mine is not None
    assert other is not None
    assert len(bytes.fromhex(mine)) == len(bytes.fromhex(other)) == 32
