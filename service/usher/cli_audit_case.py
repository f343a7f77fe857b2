"""`usher audit case …`: exchanges that reviewers look into together, with notes and a decision.

With a key as its person, else as the operator, who decides nothing: a decision is a person's.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say, table
from usher.cli_road import ask_operator, run
from usher.core.cases import Review
from usher.errors import UserError
from usher.settings import read_settings

case = typer.Typer(help="Exchanges that are looked into together.", no_args_is_help=True)

Key = Annotated[
    str | None, typer.Option("--key", envvar="USHER_KEY", help="Act as this key's person.", show_envvar=True)
]
Case = Annotated[str, typer.Argument(metavar="CASE", help="The case's id.")]
Seen = Annotated[
    int | None, typer.Option("--version", help="The case's version that you have seen. Default: the newest.")
]
LISTED = ("id", "version", "opened_at", "review", "count", "title")
EXCHANGES = ("number", "time", "kind", "outcome", "user", "pseudonym", "audit_id")
STEPS = ("version", "at", "op", "by", "user", "review", "text")


@case.command("open")
def open_case(
    title: Annotated[str, typer.Argument(help="What it is about; kept sealed.")], key: Key = None, json: Json = False
) -> None:
    """Open a case."""
    _told(_ask("POST", "", key, {"title": title}), json)


@case.command("list")
def list_cases(
    after: Annotated[str | None, typer.Option(help="Go on after this case's id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 50,
    key: Key = None,
    json: Json = False,
) -> None:
    """Cases, newest first. This reading is itself recorded."""
    page = _ask("GET", "", key, params={"limit": str(limit)} | ({"after": after} if after else {}))
    if json:
        dump(page)
        return
    table(page["cases"], LISTED)
    for one in page["damaged"]:
        say(f"{one} was changed in the database, and is not what was recorded: look for it in a backup")
    if page["next"] is not None:
        say(f"more: --after {page['next']}")


@case.command("show")
def show(
    case: Case,
    names: Annotated[bool, typer.Option("--names", help="People's names beside their pseudonyms.")] = False,
    key: Key = None,
    json: Json = False,
) -> None:
    """A case with its exchanges and steps. This reading is itself recorded."""
    told = _ask("GET", f"/{case}", key, params={"names": "true"} if names else None)
    if json:
        dump(told)
        return
    say(f"case {told['id']}, version {told['version']}: {told['review'] or 'not decided'}; {told['title'] or '-'}")
    table(told["exchanges"], [column for column in EXCHANGES if names or column != "user"])
    table(told["steps"], [column for column in STEPS if names or column != "user"])


@case.command("add")
def add(
    case: Case,
    exchanges: Annotated[list[str] | None, typer.Argument(help="Exchanges by their audit ids.")] = None,
    document: Annotated[str | None, typer.Option(help="Those that showed this document.")] = None,
    path: Annotated[str | None, typer.Option(help="The same by the document's path.")] = None,
    person: Annotated[str | None, typer.Option(help="Those of this user.")] = None,
    pseudonym: Annotated[str | None, typer.Option(help="Those of this pseudonym.")] = None,
    denied: Annotated[bool, typer.Option("--denied", help="Those that were denied.")] = False,
    since: Annotated[str | None, typer.Option("--from", help="From this instant on, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Up to this instant.")] = None,
    after: Annotated[int, typer.Option(help="Go on after this entry's number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    version: Seen = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Add exchanges, by their ids or by a question: what showed a document, what somebody saw, what was denied."""
    asked = {"document": document, "path": path, "person": person, "pseudonym": pseudonym, "denied": denied}
    if bool(exchanges) == any(asked.values()):
        raise UserError("EXCHANGES", "and a question are two ways to add", "give one of the two")
    part = {"since": since, "until": until, "after": after, "limit": limit}
    body = {"exchanges": exchanges} if exchanges else {"query": {**asked, **part}}
    _told(_change(case, "exchanges", key, version, body), json)


@case.command("note")
def note(
    case: Case,
    text: Annotated[str, typer.Argument(help="Kept sealed.")],
    version: Seen = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Write a note."""
    _told(_change(case, "notes", key, version, {"text": text}), json)


@case.command("decide")
def decide(
    case: Case,
    decision: Annotated[Review, typer.Argument(help="What the review comes to.")],
    text: Annotated[str | None, typer.Option("--why", help="Kept sealed.")] = None,
    version: Seen = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Decide it, as a person: `fine` and `violation` close it, `needs_more` opens it again."""
    _told(_change(case, "decision", key, version, {"decision": decision.value, "text": text}), json)


def _change(case: str, what: str, key: str | None, version: int | None, body: dict[str, Any]) -> Any:
    """A change upon the version that was seen, or upon the newest: one made meanwhile is refused all the same."""
    seen = version if version is not None else _ask("GET", f"/{case}", key)["version"]
    return _ask("POST", f"/{case}/{what}", key, {**body, "version": seen})


def _ask(method: str, path: str, key: str | None, body: object = None, params: dict[str, str] | None = None) -> Any:
    root = "/operator/audit/cases" if key is None else "/api/audit/cases"
    return run(ask_operator(read_settings(), method, root + path, body=body, params=params, key=key))


def _told(changed: dict[str, Any], json: bool) -> None:
    if json:
        dump(changed)
        return
    added = f", {changed['added']} exchange(s) added" if changed["added"] else ""
    say(f"case {changed['id']} is at version {changed['version']}{added}")
    if changed["next"] is not None:
        say(f"more: --after {changed['next']}")
