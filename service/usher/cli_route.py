"""`usher route explain`: how a question would be answered now, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say
from usher.cli_policy_ask import Key, Server, requested

route = typer.Typer(help="How questions are answered.", no_args_is_help=True)


@route.command("explain")
def explain(
    question: Annotated[str, typer.Argument(help="The question; it is not asked, and kept nowhere.")],
    user: Annotated[
        str | None, typer.Option(help="Whose question it would be: takes policy.read; without it, the key's owner's.")
    ] = None,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """By retrieval, by an adapter, by both, or not at all: the route of a question, and its reasons."""
    params = {"q": question} | ({} if user is None else {"user": user})
    root = "/operator/route" if key is None else "/api/route"
    told = requested("GET", f"{root}/explain", key, params=params, server=server)
    if json:
        dump(told)
        return
    for line in explained(told):
        say(line)


def explained(told: Mapping[str, Any]) -> Iterator[str]:
    """A route in words; one's own has no rules and no adapters."""
    by = f" by {told['adapter']}" if told["adapter"] else ""
    yield f"{told['kind']}{by} ({', '.join(told['reasons']) or 'no rule of routing.yaml says otherwise'})"
    for one in told.get("rules", ()):
        yield f"rule {one['rule']}: {one['came_to']}"
    for one in told.get("adapters", ()):
        missing = f", access classes out of reach: {one['missing']}" if one["missing"] else ""
        state = f"no: {one['reason']}{missing}" if one["reason"] else "yes"
        loaded = "" if one["served"] else ", not on the model servers"
        yield f"adapter {one['adapter']}: {state}{loaded}"
    if told.get("model_up") is False:
        yield "the model server does not answer"
    yield f"policy version: {told['policy_version']}"
