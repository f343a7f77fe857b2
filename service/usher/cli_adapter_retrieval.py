"""`usher adapter retrieval`: what retrieval answers where an adapter is measured, so that the two can be compared."""

from __future__ import annotations

import asyncio
import json as jsonlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from usher.cli_adapter import Own
from usher.cli_output import Json, dump, progress, say, write_out
from usher.cli_road import encoded, headers, key_of, refused, road, run
from usher.errors import UserError
from usher.settings import read_settings

if TYPE_CHECKING:
    import httpx

_TOO_MANY: Final = 429
_CITATION: Final = re.compile(r" ?\[\d+\]")


def retrieval(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The data set.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file that it is written to, which is made.")],
    key: Own = None,
    json: Json = False,
) -> None:
    """Ask a data set's held-out questions as a person, whom retrieval answers: what `evaluate --retrieval` compares
    with. Each stands in the record and in the person's conversations, as any question does."""
    if out.exists():
        raise UserError("--out", "is there already", "name a file that is not there yet")
    questions = _held_out(folder)
    answers = run(_answers(questions, key_of(key), bar=not json))
    lines = [jsonlib.dumps({"question": one, "answer": answer}) for one, answer in zip(questions, answers, strict=True)]
    write_out(out, "".join(f"{line}\n" for line in lines))
    if json:
        dump({"file": str(out), "questions": len(questions)})
    else:
        say(f"{out}: {len(questions)} questions answered by retrieval")
        say(f"to compare with it: usher adapter evaluate RECIPE.yaml --retrieval {out}")


def _held_out(folder: Path) -> list[str]:
    from usher_lora.faults import AdapterFault
    from usher_lora.training_set import read_training_set

    try:
        return sorted({row.asked[-1].content for row in read_training_set(folder).held_out})
    except AdapterFault as fault:
        raise UserError(fault.field, fault.problem, fault.remedy) from None


async def _answers(questions: Sequence[str], key: str, *, bar: bool) -> list[str]:
    """In the order of the questions. Raises `Refused`, `UserError`."""
    found = []
    async with road(read_settings()) as client:
        with progress("questions", wanted=bar) as advance:
            for question in questions:
                found.append(await _answered(client, question, key))
                advance(len(found), len(questions))
    return found


async def _answered(client: httpx.AsyncClient, question: str, key: str) -> str:
    """What retrieval says, without its citations: what an adapter says has none."""
    body = encoded({"model": "assistant", "messages": [{"role": "user", "content": question}]})
    while (response := await client.post("/v1/chat/completions", content=body, headers=headers(key))).is_error:
        if response.status_code != _TOO_MANY or "retry-after" not in response.headers:
            raise refused(response.content)
        await asyncio.sleep(int(response.headers["retry-after"]))
    told: dict[str, Any] = response.json()
    kind = told["usher"]["route"]["kind"]
    if kind != "retrieve":
        problem = f"sends a held-out question to {kind}"
        raise UserError("routing.yaml", problem, "ask with the key of somebody whom no adapter answers")
    return _CITATION.sub("", told["choices"][0]["message"]["content"]).strip()


def add_to(group: typer.Typer) -> None:
    group.command("retrieval")(retrieval)
