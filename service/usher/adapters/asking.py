"""A model that is asked for questions and answers about passages: one passage at a time, so that nothing of one class
ever stands in a prompt beside something of another."""

from __future__ import annotations

import asyncio
from typing import Final

from usher.errors import UserError
from usher.ports import Model, ModelRequest, ModelUnavailable
from usher_lora.dataset_model import MOST_TOKENS, Passage, asked, passages, told
from usher_lora.dataset_pairs import Pair

AT_ONCE: Final = 4
"""Passages that are asked about at the same time."""


class Asking:
    """Over the model that answers in chat."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    def check(self) -> None:
        """Raises `UserError` where there is no model that does what it is told."""
        if not self._model.generative:
            problem = "needs a model that writes, and there is none"
            raise UserError("makers", f"`model` {problem}", "set USHER_MODEL_URL and USHER_MODEL, or leave it out")

    async def pairs(self, title: str, text: str) -> tuple[list[Pair], int]:
        """What the model made of a document's passages, as far as its quotations hold, and how many lines of its
        replies were not believed. Raises `UserError` where the model does not answer."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(passage: Passage) -> tuple[list[Pair], int]:
            async with turns:
                return told(passage, await self._reply(passage))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(passage)) for passage in passages(title, text)]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        found = [task.result() for task in tasks]
        return [pair for some, _ in found for pair in some], sum(refused for _, refused in found)

    async def _reply(self, passage: Passage) -> str:
        request = ModelRequest(asked(passage), "", (), MOST_TOKENS)
        try:
            return "".join([delta.text async for delta in self._model.stream(request)])
        except ModelUnavailable as error:
            raise UserError("model", f"does not answer ({error})", "look after it, then make the set again") from None
