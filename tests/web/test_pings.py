"""A sign of life while the next part of a stream is awaited."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest
from tests.web.chat_kit import ScriptedModel, streamed
from tests.web.world import world

from usher.web import pings
from usher.web.pings import with_pings


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pings, "EVERY", 0.01)


def test_a_silence_is_filled_and_nothing_is_asked_for_ahead() -> None:
    """Parts come in order; the generator goes on only when its next part is taken."""
    asked: list[int] = []

    async def parts() -> AsyncGenerator[int, None]:
        for part in range(3):
            asked.append(part)
            await asyncio.sleep(0.05 if part == 1 else 0)
            yield part

    async def work() -> None:
        got: list[int | None] = []
        async with aclosing(parts()) as source, aclosing(with_pings(source)) as pinged:
            async for part in pinged:
                got.append(part)
                assert part is None or asked == list(range(part + 1))
        assert [part for part in got if part is not None] == [0, 1, 2]
        assert got[:2] == [0, None]

    asyncio.run(work())


def test_closing_ends_the_wait_and_leaves_nothing_running() -> None:
    """Whoever made the parts can close them right after."""
    ended: list[str] = []

    async def parts() -> AsyncGenerator[int, None]:
        try:
            await asyncio.sleep(60)
            yield 1
        finally:
            await asyncio.sleep(0.01)
            ended.append("ended")

    async def work() -> None:
        async with aclosing(parts()) as source:
            pinged = with_pings(source)
            assert await anext(pinged) is None
            await pinged.aclose()
            assert ended == ["ended"]

    asyncio.run(work())


def test_a_stream_with_a_slow_model_has_comments_between_its_events(tmp_path: Path) -> None:
    """Before the first text and between texts; a comment is no event to a client."""
    with world(tmp_path, model=ScriptedModel(0.05, "Twenty-eight", 0.08, " days [1].")) as usher:
        got = usher.run(streamed(usher))
    assert got.done
    assert got.text == "Twenty-eight days [1]."
    assert got.pings > 3
