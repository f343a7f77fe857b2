"""A client of `chat_server` under test, with short limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import patch

from tests.backends.chat_server import SECRET

from usher.backends import model_vllm
from usher.backends.model_vllm import OpenAIModel, Timeouts
from usher.ports import Delta, ModelRequest, ModelUnavailable

REQUEST = ModelRequest(
    messages=({"role": "system", "content": "rules"}, {"role": "user", "content": SECRET}),
    question=SECRET,
    passages=(),
    max_tokens=99,
)
QUICK = Timeouts(connect=0.5, first=0.15, read=0.15, total=5.0)
GOOD_DELTAS = [Delta("Hello"), Delta("", "stop", 7, 2)]
MADE: list[OpenAIModel] = []


def model_at(url: str, timeouts: Timeouts = QUICK, **options: Any) -> OpenAIModel:
    MADE.append(OpenAIModel(url, "base", timeouts=timeouts, **options))
    return MADE[-1]


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run to the end, within a limit and with short pauses, and close what was made."""

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()
        while MADE:
            await MADE.pop().close()

    with patch.object(model_vllm, "RETRY_PAUSE", 0.01):
        asyncio.run(bounded())


async def answered(model: OpenAIModel, request: ModelRequest = REQUEST) -> list[Delta]:
    """The text, however it was parted, and the end."""
    *parts, last = [delta async for delta in model.stream(request)]
    return [Delta("".join(delta.text for delta in parts)), last]


async def failed(model: OpenAIModel) -> tuple[ModelUnavailable, str]:
    """The failure, and the text that came before it."""
    texts: list[str] = []
    try:
        async for delta in model.stream(REQUEST):
            texts.append(delta.text)
    except ModelUnavailable as error:
        assert SECRET not in str(error)  # noqa: PT017 - the text that came before matters too
        return error, "".join(texts)
    raise AssertionError("the model answered")
