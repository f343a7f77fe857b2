"""What the log has of errors: never the words in them."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from usher.logs import OtherLibraries, place_of_error

WORDS = "How much does the board earn?"


@pytest.fixture
def lines() -> Any:
    """Of the log, as other libraries' records come into it."""
    root, handler = logging.getLogger(), OtherLibraries()
    root.addHandler(handler)
    with capture_logs() as captured:
        yield captured
    root.removeHandler(handler)
    structlog.reset_defaults()


async def _failing(question: str) -> None:
    raise ValueError(question)


def _called_back(question: str) -> None:
    raise ValueError(question)


def test_a_task_whose_error_nobody_takes_is_told_without_its_words(lines: Any) -> None:
    """asyncio writes the exception into its message."""

    async def forget() -> None:
        task = asyncio.create_task(_failing(WORDS))
        await asyncio.wait({task})

    asyncio.run(forget())
    gc.collect()
    assert "Task exception was never retrieved" in [line["event"] for line in lines]
    assert WORDS not in str([place_of_error(None, "", line) for line in lines])


def test_a_callback_that_fails_is_told_without_its_arguments(lines: Any) -> None:
    """Which may be a question."""

    async def call() -> None:
        asyncio.get_running_loop().call_soon(_called_back, WORDS)
        await asyncio.sleep(0)

    asyncio.run(call())
    assert any(line["event"].startswith("Exception in callback _called_back") for line in lines)
    assert WORDS not in str([place_of_error(None, "", line) for line in lines])
