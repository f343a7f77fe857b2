"""A sign of life while the next part of a stream is awaited."""

import asyncio
from pathlib import Path

import pytest
from tests.web.chat_kit import ScriptedModel, streamed
from tests.web.test_stream_parts import words
from tests.web.world import world

from usher import chat_stream
from usher.chat_stream import Parts


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_stream, "SILENCE", 0.01)


def test_a_silence_is_filled() -> None:
    """Between what comes, and in its order; a model that is silent for good is left as soon as nobody asks."""

    async def work() -> None:
        got: list[str | None] = []
        parts = Parts(words("a", "b", pause=0.05))
        async for part in parts:
            got.append(None if part is None else part.text)
        assert [text for text in got if text is not None] == ["a", "b"]
        assert got[:2] == ["a", None]
        await parts.aclose()

    asyncio.run(work())


def test_a_stream_with_a_slow_model_has_comments_between_its_events(tmp_path: Path) -> None:
    """Before the first text and between texts; a comment is no event to a client."""
    with world(tmp_path, model=ScriptedModel(0.05, "Twenty-eight", 0.08, " days [1].")) as usher:
        got = usher.run(streamed(usher))
    assert got.done
    assert got.text == "Twenty-eight days [1]."
    assert got.pings > 3


def test_a_client_that_leaves_in_a_silence_ends_the_answer(tmp_path: Path) -> None:
    """Recorded as cancelled, with what it was shown, and the model is aborted."""
    model = ScriptedModel("Twenty-eight days. ", 0.05, "More. ", 30.0)
    with world(tmp_path, model=model) as usher:
        usher.run(streamed(usher, leave_after=5))
        assert usher.newest()[-1]["outcome"] == "cancelled"
        assert model.aborted
