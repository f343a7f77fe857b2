"""`usher policy explain`, `who`, `what`, `matrix` and `replay`: what the policy means, and what a draft would have."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from usher.cli_output import Json, bullets, clean, dump, progress, say, table, warn
from usher.cli_policy_ask import Changeset, Key, Server, ask, client
from usher.cli_road import Refused, headers, refused, run
from usher.errors import UserError

Target = Annotated[str, typer.Argument(metavar="OBJECT", help="What it is about, such as coll:finance.")]
Verb = Annotated[str, typer.Argument(help="The action.")]
READ = "document.read"


def explain(
    user: Annotated[str, typer.Argument(help="The person; with their own key it takes no right.")],
    object: Target,
    action: Verb = READ,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """One decision as it would fall now: the rules that took part, what is missing, and what would turn it round."""
    params = {"user": user, "object": object, "action": action}
    told = ask("GET", "/explain", key, params=params, server=server)
    if json:
        dump(told)
        return
    for line in explained(told):
        say(line)


def explained(told: Mapping[str, Any]) -> Iterator[str]:
    """An explanation in words; one's own without a right has nothing but `words`."""
    allowed = "allowed" if told["allowed"] else "denied"
    why = f" ({told['reason']})" if "reason" in told else ""
    yield f"{told['user']} {told['action']} {told['object']}: {allowed}{why}"
    yield from (f"  {line}" for line in told.get("words", ()))
    if "reason" in told:
        yield from (f"  {line}" for line in _reasons(told))
    if told["valid_until"]:
        yield f"  until {told['valid_until']}"
    yield f"  policy version: {told['policy_version']}"


def _reasons(told: Mapping[str, Any]) -> Iterator[str]:
    yield f"groups: {', '.join(told['groups']) or 'none'}"
    yield f"roles: {', '.join(told['roles']) or 'none'}"
    for rule in told["rules"]:
        yield f"rule: {rule['line']}{'' if rule['holds'] else '   (its condition does not hold)'}"
        yield f"  by way of {' -> '.join(rule['path'])}"
    yield from (f"on its list of readers: {' -> '.join(path)}" for path in told["listed"])
    if told["hidden"]:
        yield "more took part, which your right does not reach"
    yield from (f"missing: {words}" for words in told["missing"])
    turned = "denied" if told["allowed"] else "allowed"
    for name, words in (("to_remove", "without"), ("to_add", "with"), ("roles_to_give", "with")):
        yield from (f"{turned} {words}: {line}" for line in told[name])


def who(
    object: Target,
    action: Verb = READ,
    limit: Annotated[int, typer.Option(min=1, max=5000, help="How many names.")] = 200,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """Everybody who may do this now."""
    params = {"object": object, "action": action, "limit": str(limit)}
    told = ask("GET", "/who", key, params=params, server=server)
    if json:
        dump(told)
        return
    bullets(told["users"])
    bullets(f"anyone in {group}" for group in told["anyone_in"])
    say(f"{len(told['users']) + len(told['anyone_in']) + told['more']} may {action} {object} now")


def what(
    user: Annotated[str, typer.Argument(help="The person.")],
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """All that rules and reader lists say to one person."""
    told = ask("GET", "/what", key, params={"user": user}, server=server)
    if json:
        dump(told)
        return
    if not told["known"]:
        warn(f"{told['user']} is not in the directory, or not active: they may do nothing")
    table(told["rights"], ("action", "object", "allowed", "reason"))


def matrix(
    action: Annotated[str | None, typer.Option(help="Only this action.")] = None,
    object: Annotated[str | None, typer.Option(help="Only this object.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write it there; else it is printed.")] = None,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """Who may do what, as a table: CSV that opens safely in a spreadsheet."""
    params = {name: text for name, text in (("action", action), ("object", object)) if text is not None}
    text = run(_table(params, key, server))
    if out is not None:
        _write(out, text)
    if json:
        rows = text.count("\r\n")
        dump({"people": max(rows - 1, 0), "file": out and str(out), **({} if out else {"csv": text})})
    elif out is None:
        sys.stdout.write(clean(text) if sys.stdout.isatty() else text)


def _root(key: str | None) -> str:
    return "/operator/policy" if key is None else "/api/policy"


async def _table(params: Mapping[str, str], key: str | None, server: str | None) -> str:
    async with client(server if key else None) as http:
        response = await http.get(f"{_root(key)}/matrix.csv", params=params, headers=headers(key))
    if response.is_error:
        raise refused(response.content)
    return response.text


def _write(path: Path, text: str) -> None:
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        raise UserError(str(path), f"cannot be written ({type(error).__name__})", "name another file") from None


def replay(
    changeset: Changeset,
    last: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many of the last exchanges.")] = 100,
    names: Annotated[bool, typer.Option("--names", help="People's names beside the pseudonyms.")] = False,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """Decide the last recorded exchanges again under a draft: whose answer would lose passages, or gain some. Exit code
    1 if any would be another."""
    params = {"n": str(last), "names": str(names).lower(), "progress": "true"}
    told = run(_replayed(changeset, params, key, server, bar=not json))
    if json:
        dump(told)
    else:
        for line in replayed(told):
            say(line)
    raise typer.Exit(1 if told["differing"] else 0)


async def _replayed(
    changeset: str, params: Mapping[str, str], key: str | None, server: str | None, *, bar: bool
) -> dict[str, Any]:
    path = f"{_root(key)}/changesets/{changeset}/replay"
    async with (
        client(server if key else None) as http,
        http.stream("GET", path, params=params, headers=headers(key)) as response,
    ):
        if response.is_error:
            raise refused(await response.aread())
        with progress("exchanges", wanted=bar) as advance:
            async for line in response.aiter_lines():
                event = jsonlib.loads(line)
                kind = event.pop("event")
                if kind == "error":
                    raise Refused(event)
                if kind == "report":
                    return dict(event)
                advance(event["done"], event["total"])
    raise Refused({"detail": "the server ended before the answer; run the command again"})


def replayed(told: Mapping[str, Any]) -> Iterator[str]:
    """A replay in words."""
    for one in told["differing"]:
        yield f"{one['kind']} {one['audit_id']} by {one['user'] or one['pseudonym']}, {one['time']}"
        if one["refused"]:
            yield "  would be refused"
        for side, verb in (("lost", "would lose"), ("gained", "would gain")):
            yield from (f"  {verb} {_passages(some)}" for some in one[side])
    looked = "" if told["looked_at"] is None else f" of {told['looked_at']}"
    yield f"{told['losing']}{looked} would lose something, {told['gaining']} would gain something"
    if told["unknown"]:
        yield f"{told['unknown']} are of people who are not there any more: they lose and gain nothing"
    if told["unopened"]:
        yield f"{told['unopened']} have no question any more: what they would gain is not known"


def _passages(some: Mapping[str, Any]) -> str:
    count = some["passages"]
    return f"{count} passage{'' if count == 1 else 's'} of {' + '.join(some['requirements']) or 'a class not known'}"


def add_to(policy: typer.Typer) -> None:
    """The commands of this file."""
    for command in (explain, who, what, matrix, replay):
        policy.command(command.__name__)(command)
