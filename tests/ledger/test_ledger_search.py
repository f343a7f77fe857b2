"""A search's question in the record: sealed, committed to by its request."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.ledger.ledger_kit import QUESTION, change, event, ledger_in, opening, ring_in, run

from usher.ledger.log import OutOfOrder
from usher.ledger.record import SEARCH, EventType, Kind, uuid7
from usher.ledger.verify import verify


async def _searched(folder: Path, position: int = 0) -> str:
    async with ledger_in(folder) as ledger:
        subject, ident = await ledger.subject("alice"), uuid7()
        row = subject.conversation(ident).seal(ident, position, Kind.QUESTION, QUESTION)
        await ledger.append(opening(ident, operation=SEARCH), [row])
        await ledger.append([event(EventType.RETRIEVAL, ident, passages=[])])
        (stored,) = await ledger.content(ident)
        return subject.conversation(ident).open(stored)


def test_a_search_keeps_its_question_sealed(tmp_path: Path) -> None:
    """The question opens with the person's key, stands nowhere in plain text, and the record verifies."""
    assert run(_searched(tmp_path)) == QUESTION
    assert all(QUESTION.encode() not in file.read_bytes() for file in tmp_path.iterdir())
    assert verify(tmp_path / "ledger.sqlite", ring=ring_in(tmp_path)).ok


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM content",
        "UPDATE content SET ciphertext = zeroblob(length(ciphertext))",
        "INSERT INTO content SELECT audit_id, 1, kind, conversation, pseudonym, commitment, ciphertext FROM content",
    ],
)
def test_a_changed_question_is_found(tmp_path: Path, tampering: str) -> None:
    """The request commits to the question's row, so a later change of it is named."""
    run(_searched(tmp_path))
    change(tmp_path / "ledger.sqlite", tampering)
    verdict = verify(tmp_path / "ledger.sqlite")
    assert (verdict.ok, verdict.first_bad) == (False, 1)


def test_a_question_out_of_place_is_refused(tmp_path: Path) -> None:
    """A search's rows count from 0 like a chat's."""
    with pytest.raises(OutOfOrder, match="position 1 given, 0 is next"):
        run(_searched(tmp_path, position=1))
