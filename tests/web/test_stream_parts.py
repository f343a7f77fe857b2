"""A model's deltas in parts: at once until something was shown, then gathered for a window, cut short by the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from usher.chat_stream import WINDOW, Interrupted, Parts
from usher.ports import Delta, ModelUnavailable


async def words(*words: str, pause: float = 0.002, end: Exception | None = None) -> AsyncIterator[Delta]:
    for word in words:
        yield Delta(word)
        await asyncio.sleep(pause)
    if end is not None:
        raise end


async def _taken(parts: Parts, texts: list[str], *, shown: bool) -> None:
    async for part in parts:
        texts.append(part.text)
        if shown:
            parts.given()


async def _window_begins() -> None:
    await asyncio.sleep(WINDOW - time.monotonic() % WINDOW)


def _run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(5):
            await test()

    asyncio.run(bounded())


def test_until_something_is_shown_nothing_waits_for_company() -> None:
    """A first word that is held back must not cost the window too."""

    async def test() -> None:
        texts = [part.text async for part in Parts(words("a", "b", "c")) if part]
        assert texts == ["a", "b", "c"]

    _run(test)


def test_after_something_was_shown_what_comes_is_gathered() -> None:
    """The end of the answer waits for nothing."""

    async def test() -> None:
        await _window_begins()
        parts, texts, began = Parts(words("a", "b", "c", "d")), [], time.monotonic()
        async for part in parts:
            texts.append(part.text)
            parts.given()
        assert texts == ["a", "bcd"]
        assert time.monotonic() - began < WINDOW

    _run(test)


def test_a_long_answer_gives_a_part_each_window() -> None:
    """Not one at its end."""

    async def test() -> None:
        parts, texts = Parts(words(*"abcdefgh", pause=WINDOW / 3)), []
        async for part in parts:
            texts.append(part.text)
            parts.given()
        assert "".join(texts) == "abcdefgh"
        assert 3 <= len(texts) <= 6

    _run(test)


def test_windows_end_together() -> None:
    """Whenever the answers began, so that one commit serves all of them."""

    async def test() -> None:
        ends: list[float] = []

        async def taken(late: float) -> None:
            await asyncio.sleep(late)
            parts = Parts(words(*"abcdefgh", pause=WINDOW / 5))
            async for _ in parts:
                ends.append(time.monotonic() % WINDOW)
                parts.given()

        await _window_begins()
        await asyncio.gather(*(taken(WINDOW * n / 7) for n in range(4)))
        begun_or_ended = 4 * 2  # the first part and the last come when they come
        assert sum(end < WINDOW / 4 for end in ends) >= len(ends) - begun_or_ended

    _run(test)


@pytest.mark.parametrize("shown", [False, True], ids=["nothing shown", "within the window"])
def test_what_the_model_raises_comes_after_what_it_gave(shown: bool) -> None:
    """Nothing that it said is lost."""

    async def test() -> None:
        parts, texts = Parts(words("a", "b", pause=0.0, end=ModelUnavailable("gone"))), list[str]()
        with pytest.raises(ModelUnavailable):
            await _taken(parts, texts, shown=shown)
        assert "".join(texts) == "ab"

    _run(test)


def test_a_stop_ends_it_also_while_the_model_is_silent() -> None:
    """The first reason is the one that counts."""

    async def test() -> None:
        parts = Parts(words("a", "b", pause=60.0))
        asyncio.get_running_loop().call_later(0.01, parts.stop)
        asyncio.get_running_loop().call_later(0.01, parts.stop, ValueError())
        with pytest.raises(Interrupted):
            await _taken(parts, [], shown=True)
        await parts.aclose()

    _run(test)
