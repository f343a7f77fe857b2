"""`usher ingest`, by the operator; `usher ask` and `usher search`, as the person whose key it is."""

from __future__ import annotations

import json as jsonlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import typer

from usher.cli_output import Json, clean, counts, dump, progress, say, warn
from usher.cli_road import Refused, ask_operator, encoded, headers, key_of, refused, road, run
from usher.errors import UserError
from usher.settings import Settings, read_settings

Key = Annotated[str | None, typer.Option("--key", envvar="USHER_KEY", help="The key to act with.", show_envvar=True)]


def ingest(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to take in.")],
    source: Annotated[str | None, typer.Option(help="The source's name; by default the folder's real path.")] = None,
    sync: Annotated[bool, typer.Option("--sync", help="Also remove documents whose file is gone.")] = False,
    collection: Annotated[str | None, typer.Option(help="Where to shelve what no rule shelves.")] = None,
    rules: Annotated[Path | None, typer.Option(help="A YAML list of {glob, collection, markings}.")] = None,
    acl: Annotated[Path | None, typer.Option(help="Readers by file, in JSON lines.")] = None,
    allow_mass_delete: Annotated[
        bool, typer.Option("--allow-mass-delete", help="Let --sync remove more than a fifth.")
    ] = False,
    json: Json = False,
) -> None:
    """Take a folder of documents in, or bring them up to date."""
    root = directory.resolve()
    body = {
        "root": str(root),
        "source": source or str(root),
        "sync": sync,
        "collection": collection,
        "rules": rules and str(rules.resolve()),
        "acl": acl and str(acl.resolve()),
        "allow_mass_delete": allow_mass_delete,
    }
    report = run(take_in(read_settings(), body, bar=not json))
    refusals = report.get("refused", [])
    if json:
        dump(report)
    else:
        for refusal in refusals:
            warn("refused {path}: {problem}: {remedy}".format(**refusal))
        numbers = counts(report)
        say(f"{numbers}, {len(refusals)} refused")
    raise typer.Exit(1 if refusals else 0)


async def take_in(settings: Settings, body: dict[str, Any], *, bar: bool) -> dict[str, Any]:
    """Send the folder's path, show the progress, return the report. Raises `Refused`."""
    async with (
        road(settings) as client,
        client.stream("POST", "/operator/ingest", content=encoded(body), headers=headers(None)) as response,
    ):
        if response.is_error:
            raise refused(await response.aread())
        with progress("documents", wanted=bar) as advance:
            async for line in response.aiter_lines():
                event = jsonlib.loads(line)
                if event["event"] == "error":
                    told = {name: text for name, text in event.items() if name != "event"}
                    raise Refused({"detail": _sentence(told)} | told)
                if event["event"] == "report":
                    return {name: value for name, value in event.items() if name != "event"}
                advance(event["done"], event["total"])
    raise Refused({"detail": "the server ended before the report; run the command again, it goes on where it was"})


def _sentence(event: dict[str, Any]) -> str:
    return str(UserError(event.get("field", "ingest"), event.get("problem", "failed"), event.get("remedy", "")))


def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    key: Key = None,
    json: Json = False,
) -> None:
    """Ask a question, as the person whose key it is. The answer streams; its sources follow."""
    told = run(_ask(read_settings(), question, key_of(key), show=not json))
    if json:
        dump(told)
        return
    print()
    for citation in told["usher"].get("citations", []):
        say("  [{n}] {path}  {title}".format(**citation))


async def _ask(settings: Settings, question: str, key: str, *, show: bool) -> dict[str, Any]:
    """The whole answer and what Usher says of it. Raises `Refused`."""
    body = {"model": "assistant", "stream": True, "messages": [{"role": "user", "content": question}]}
    answer, about = "", None
    async with (
        road(settings) as client,
        client.stream("POST", "/v1/chat/completions", content=encoded(body), headers=headers(key)) as response,
    ):
        if response.is_error:
            raise refused(await response.aread())
        async for chunk in _chunks(response.aiter_lines()):
            text = _delta(chunk)
            answer += text
            about = chunk.get("usher", about)
            if show:
                print(clean(text), end="", flush=True)
    if about is None:
        raise Refused({"detail": "the answer was cut off; what was shown is recorded"})
    return {"answer": answer, "usher": about}


async def _chunks(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    async for line in lines:
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        chunk = jsonlib.loads(line.removeprefix("data: "))
        if "error" in chunk:
            raise refused(jsonlib.dumps(chunk).encode())
        yield chunk


def _delta(chunk: dict[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", []))


def search(
    question: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="How many passages.")] = 10,
    key: Key = None,
    json: Json = False,
) -> None:
    """The passages that the person whose key it is may read, best first."""
    body = {"q": question, "k": k}
    found = run(ask_operator(read_settings(), "POST", "/api/search", body=body, key=key_of(key)))
    if json:
        dump(found)
        return
    for hit in found["hits"]:
        say(f"{hit['score']:.3f}  {hit['path']}  {hit['title']}\n       {_first(hit['text'])}")
    if not found["hits"]:
        say("nothing found")


def _first(text: str, width: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
