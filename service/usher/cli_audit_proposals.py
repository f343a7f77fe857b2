"""`usher audit proposals`, `approve`, `refuse`, `withdraw`, `carry-out`, `close-review`: acts that take two people."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say, table
from usher.cli_road import ask_operator, key_of, run
from usher.settings import read_settings

Key = Annotated[
    str | None,
    typer.Option("--key", envvar="USHER_KEY", help="The key to act with; without one, the operator.", show_envvar=True),
]
Own = Annotated[str | None, typer.Option("--key", envvar="USHER_KEY", help="The key to act with.", show_envvar=True)]
Reason = Annotated[str, typer.Option(help="Why; it is kept sealed, and shown to those who decide.")]
Proposal = Annotated[str, typer.Argument(metavar="PROPOSAL", help="Its id, as `usher audit proposals` lists it.")]
COLUMNS = ("id", "kind", "state", "parts", "user", "digest", "proposer", "approved_by", "done_at", "reason")


def proposals(
    after: Annotated[str | None, typer.Option(help="Go on after this proposal.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    names: Annotated[bool, typer.Option("--names", help="The names of those whom it is about.")] = False,
    key: Key = None,
    json: Json = False,
) -> None:
    """What waits for approval, was decided, or was done alone; the newest first. This reading is itself recorded."""
    given = {"after": after, "limit": limit, "names": "true" if names else None}
    page = ask("GET", "/proposals", key, params={name: str(v) for name, v in given.items() if v is not None})
    if json:
        dump(page)
        return
    rows = [one | {"parts": [part or "-" for part in one["parts"]]} for one in page["proposals"]]
    table(rows, [column for column in COLUMNS if names or column != "user"])
    if page["next"] is not None:
        say(f"more: --after {page['next']}")


def approve(
    proposal: Proposal,
    digest: Annotated[str, typer.Argument(help="The digest that stands beside it: what you have looked at.")],
    key: Own = None,
    json: Json = False,
) -> None:
    """Approve what somebody else has proposed. A hold, or its release, is done with that; an erasure, which is final,
    waits for `carry-out`."""
    tell(ask("POST", f"/proposals/{proposal}/approve", key_of(key), {"digest": digest}), json)


def refuse(proposal: Proposal, key: Own = None, json: Json = False) -> None:
    """Refuse what somebody else has proposed: it is over."""
    tell(ask("POST", f"/proposals/{proposal}/refuse", key_of(key)), json)


def withdraw(proposal: Proposal, key: Key = None, json: Json = False) -> None:
    """Withdraw what you have proposed: it is over."""
    tell(ask("POST", f"/proposals/{proposal}/withdraw", key), json)


def carry_out(proposal: Proposal, key: Key = None, json: Json = False) -> None:
    """Do what was approved, or go on where that was cut off: as the operator, or by the key of anybody who might
    approve such an act, whoever proposed it too. Returns when it is done."""
    tell(ask("POST", f"/proposals/{proposal}/carry-out", key), json)


def review(proposal: Proposal, key: Own = None, json: Json = False) -> None:
    """Close the review of a break-glass, as somebody with audit.review, once its time is over."""
    tell(ask("POST", f"/proposals/{proposal}/review", key_of(key)), json)


def ask(
    method: str, path: str, key: str | None, body: object = None, params: dict[str, str] | None = None
) -> dict[str, Any]:
    """One request below the audit log's address, as the person of the key or else as the operator. Raises `Refused`."""
    root = "/operator/audit" if key is None else "/api/audit"
    found: dict[str, Any] = run(ask_operator(read_settings(), method, root + path, body=body, params=params, key=key))
    return found


def tell(shown: dict[str, Any], json: bool) -> None:
    """A proposal as it stands, and the command that comes next."""
    if json:
        dump(shown)
        return
    done = " and done" if shown["done_at"] else ""
    say(f"{shown['kind']} {shown['id']}: {shown['state']}{done}")
    if shown["state"] == "open" and not shown["approved_by"]:
        say(f"to approve it, as somebody else: usher audit approve {shown['id']} {shown['digest']}")
    elif shown["state"] == "open":
        say(f"approved; to carry it out: usher audit carry-out {shown['id']}")


def add_to(audit: typer.Typer) -> None:
    """The commands of this group."""
    for command in (proposals, approve, refuse, withdraw):
        audit.command(command.__name__)(command)
    audit.command("carry-out")(carry_out)
    audit.command("close-review")(review)
