"""Feedback where it is stored: its words sealed, bound to their place, and committed to in the ledger."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
import structlog
from tests.web.world import World, world

PATH = "/api/feedback"
REASON = "The aardvark clause is missing."


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("sealed")) as made:
        yield made


def given(usher: World, reason: str) -> dict[str, Any]:
    """Feedback of Alice's on an answer of her own."""
    answer = usher.chat("What is the travel budget?", "alice").json()
    body = {"exchange": answer["usher"]["audit_id"], "verdict": "down", "reason": reason}
    found: dict[str, Any] = usher.ask("POST", PATH, "alice", json=body).json()
    return found


def test_the_commitment_is_to_the_words(usher: World) -> None:
    """Its key is sealed with them, under the conversation's key and the feedback's id."""
    feedback = given(usher, REASON)
    exchange, ident = feedback["exchange"], feedback["id"]
    with closing(sqlite3.connect(usher.folder / "home" / "usher.sqlite")) as connection:
        rows = connection.execute("SELECT sealed FROM feedback WHERE id = ?", [UUID(ident).hex]).fetchall()
    conversation, _ = usher.opened(exchange)
    text = conversation.open_label(f"feedback {ident}", rows[0][0])
    blind, words = bytes.fromhex(text[:64]), text[64:]
    assert json.loads(words) == {"reason": REASON, "correction": None, "train": False}
    assert usher.events()[-1]["commitment"] == hmac.digest(blind, words.encode(), hashlib.sha256).hex()


def test_words_of_another_feedback_do_not_open(usher: World) -> None:
    """Somebody who can write the database cannot pass one person's words off as another's."""
    exchanges = [given(usher, REASON + word)["exchange"] for word in ("first", "second")]
    with closing(sqlite3.connect(usher.folder / "home" / "usher.sqlite")) as connection, connection:
        one, other = (UUID(exchange).hex for exchange in exchanges)
        swap = "UPDATE feedback SET sealed = (SELECT sealed FROM feedback WHERE exchange = ?) WHERE exchange = ?"
        connection.execute(swap, [other, one])
    with structlog.testing.capture_logs():
        response = usher.ask("GET", f"{PATH}/{exchanges[0]}", "alice")
    assert response.status_code == 500
    assert "aardvark" not in response.text
