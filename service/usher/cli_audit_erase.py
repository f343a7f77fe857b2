"""`usher audit erase …` and what is proposed: as the person whose key it is, or else as the operator."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say, table
from usher.cli_road import ask_operator, key_of, run
from usher.errors import UserError
from usher.settings import read_settings

erase = typer.Typer(help="Erase a person or a document: it takes two people.", no_args_is_help=True)

Key = Annotated[
    str | None,
    typer.Option("--key", envvar="USHER_KEY", help="The key to act with; without one, the operator.", show_envvar=True),
]
Own = Annotated[str | None, typer.Option("--key", envvar="USHER_KEY", help="The key to act with.", show_envvar=True)]
Reason = Annotated[str, typer.Option(help="Why; it is kept sealed, and shown to those who decide.")]
Alone = Annotated[
    bool, typer.Option("--break-glass", help="The operator, alone and at once: only where nobody holds audit.erase.")
]
Proposal = Annotated[str, typer.Argument(metavar="PROPOSAL", help="Its id, as `usher audit proposals` lists it.")]
COLUMNS = ("id", "kind", "state", "subject", "user", "digest", "proposer", "approved_by", "done_at", "reason")


@erase.command("person")
def person(
    reason: Reason,
    user: Annotated[str | None, typer.Argument(help="The user; with a key, takes audit.identify.")] = None,
    pseudonym: Annotated[str | None, typer.Option(help="Their pseudonym, instead.")] = None,
    break_glass: Alone = False,
    key: Key = None,
    json: Json = False,
) -> None:
    """Propose to erase somebody: all that they said, and their name. Others' answers and all proofs stay."""
    if (user is None) == (pseudonym is None):
        raise UserError("USER", "and --pseudonym are two ways to name a person", "give one of the two")
    _propose({"user": user, "pseudonym": pseudonym, "reason": reason}, break_glass, key, json)


@erase.command("document")
def document(
    document: Annotated[str, typer.Argument(help="The document's id.")],
    reason: Reason,
    break_glass: Alone = False,
    key: Key = None,
    json: Json = False,
) -> None:
    """Propose to erase a document: the texts and titles of all its versions, and what was computed of them."""
    _propose({"document": document, "reason": reason}, break_glass, key, json)


@erase.command("carry-out")
def carry_out(proposal: Proposal, key: Key = None, json: Json = False) -> None:
    """Erase what was approved; or go on where that was cut off. Returns when it is done."""
    _tell(_ask("POST", f"/erase/{proposal}", key), json)


def proposals(
    after: Annotated[str | None, typer.Option(help="Go on after this proposal.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    names: Annotated[bool, typer.Option("--names", help="The names of those whom it is about.")] = False,
    key: Key = None,
    json: Json = False,
) -> None:
    """What waits for approval, was decided, or was done alone; the newest first. This reading is itself recorded."""
    given = {"after": after, "limit": limit, "names": "true" if names else None}
    page = _ask("GET", "/proposals", key, params={name: str(v) for name, v in given.items() if v is not None})
    if json:
        dump(page)
        return
    table(page["proposals"], [column for column in COLUMNS if names or column != "user"])
    if page["next"] is not None:
        say(f"more: --after {page['next']}")


def approve(
    proposal: Proposal,
    digest: Annotated[str, typer.Argument(help="The digest that stands beside it: what you have looked at.")],
    key: Own = None,
    json: Json = False,
) -> None:
    """Approve what somebody else has proposed."""
    _tell(_ask("POST", f"/proposals/{proposal}/approve", key_of(key), {"digest": digest}), json)


def refuse(proposal: Proposal, key: Own = None, json: Json = False) -> None:
    """Refuse what somebody else has proposed: it is over."""
    _tell(_ask("POST", f"/proposals/{proposal}/refuse", key_of(key)), json)


def withdraw(proposal: Proposal, key: Key = None, json: Json = False) -> None:
    """Withdraw what you have proposed: it is over."""
    _tell(_ask("POST", f"/proposals/{proposal}/withdraw", key), json)


def review(proposal: Proposal, key: Own = None, json: Json = False) -> None:
    """Close the review of a break-glass, as somebody with audit.review, once its time is over."""
    _tell(_ask("POST", f"/proposals/{proposal}/review", key_of(key)), json)


def _propose(body: dict[str, Any], alone: bool, key: str | None, json: bool) -> None:
    if alone and key is not None:
        raise UserError("--break-glass", "is the operator's", "leave the key out")
    _tell(_ask("POST", "/erase", key, body | ({"alone": True} if alone else {})), json)


def _ask(
    method: str, path: str, key: str | None, body: object = None, params: dict[str, str] | None = None
) -> dict[str, Any]:
    root = "/operator/audit" if key is None else "/api/audit"
    found: dict[str, Any] = run(ask_operator(read_settings(), method, root + path, body=body, params=params, key=key))
    return found


def _tell(shown: dict[str, Any], json: bool) -> None:
    if json:
        dump(shown)
        return
    done = " and done" if shown["done_at"] else ""
    say(f"{shown['kind']} {shown['id']}: {shown['state']}{done}")
    if shown["state"] == "open" and not shown["approved_by"]:
        say(f"to approve it, as somebody else: usher audit approve {shown['id']} {shown['digest']}")
    elif shown["state"] == "open":
        say(f"to carry it out: usher audit erase carry-out {shown['id']}")


def add_to(audit: typer.Typer) -> None:
    """`usher audit erase …` and the commands on what is proposed."""
    audit.add_typer(erase, name="erase")
    for command in (proposals, approve, refuse, withdraw):
        audit.command(command.__name__)(command)
    audit.command("close-review")(review)
