"""Pairs that a model makes: from one passage at a time, believed by their quotations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.world import world

from usher.adapters.asking import AT_ONCE, Asking
from usher.adapters.datasets import Ready
from usher.adapters.deciders import Caller
from usher.adapters.material import Wanted
from usher.backends.model_extractive import ExtractiveModel
from usher.errors import UserError
from usher.ports import Delta, ModelRequest, ModelUnavailable

TEXT = "# Travel\n\n" + "\n\n".join(
    f"## City {n}\n\nIn city {n} a hotel may cost at most {n}40 euros for one night, and breakfast is extra everywhere."
    for n in range(1, 10)
)


NARROWED = "p, role:employee, coll:handbook, document.read, deny, always\n"


class Writing:
    """The `Model` port: one true pair for each passage, one with another number, and some talk."""

    name, context_tokens, generative = "writing", 8_192, True

    def __init__(self, failing: str = "never") -> None:
        self.prompts: list[str] = []
        self.busy = self.most = 0
        self._failing = failing

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def stream(self, request: ModelRequest) -> AsyncIterator[Delta]:
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(0)
        prompt = request.messages[-1]["content"]
        self.prompts.append(prompt)
        if self._failing in prompt:
            raise ModelUnavailable("it is not there")
        said = json.loads(prompt.partition("Passage, as a JSON text:\n")[2]).strip()
        pair = {"question": "What may a hotel cost?", "answer": said, "quote": said[:60]}
        for line in ("Here you are:", json.dumps(pair), json.dumps({**pair, "answer": "77 euros"})):
            yield Delta(line[:9])
            yield Delta(line[9:] + "\n")
        self.busy -= 1

    async def close(self) -> None: ...


def asked(model: Any) -> tuple[list[str], int]:
    found, refused = asyncio.run(Asking(model).pairs("Travel", TEXT))
    assert all(TEXT[pair.start : pair.end] in pair.answer for pair in found)
    return [pair.answer for pair in found], refused


def test_each_passage_is_asked_about_alone() -> None:
    """A few at a time; what its quotation proves is taken, the rest is counted."""
    model = Writing()
    answers, refused = asked(model)
    assert [f"{n}40 euros" in answer for n, answer in enumerate(answers, 1)] == [True] * 9
    assert refused == 9
    assert len(model.prompts) == 9
    assert all(prompt.count("In city") == 1 for prompt in model.prompts)
    assert 1 < model.most <= AT_ONCE


def test_a_model_that_does_not_answer_ends_it() -> None:
    """With the remedy; a set that is half of what it says is made of does not come about."""
    with pytest.raises(UserError, match="does not answer"):
        asked(Writing(failing="city 5"))


def test_an_answerer_that_only_quotes_is_refused() -> None:
    """It does not do what it is told."""
    with pytest.raises(UserError, match="needs a model that writes"):
        Asking(ExtractiveModel(None)).check()
    Asking(Writing()).check()


def test_what_the_model_is_shown_is_recorded_before(tmp_path: Path) -> None:
    """And judged before each document: what is withdrawn meanwhile is not shown to it any more."""
    papers = {f"handbook/town{n}.md": f"# Town {n}\n\n{text}\n" for n, text in enumerate(TEXT.split("## City ")[1:])}
    model, shown = Writing(), list[int]()
    with world(tmp_path, documents=papers, model=model) as usher:
        wanted = Wanted("role:employee", ("coll:handbook",), frozenset({"model"}))

        async def made() -> Ready:
            async for step in usher.services.learning.datasets.steps(wanted, Caller(None, "operator:uid:0")):
                if isinstance(step, Ready):
                    return step
                if step.done == 4:
                    shown.append(len(model.prompts))
                    await usher.apply(NARROWED)
                (asked,) = [event for event in usher.events() if event.get("act") == "dataset_asked"]
                assert (len(asked["documents"]), asked["model"]) == (9, "writing")
            raise AssertionError("it never ended")

        with pytest.raises(UserError, match="empty"):
            usher.run(made())
    assert shown == [len(model.prompts)] == [4]
