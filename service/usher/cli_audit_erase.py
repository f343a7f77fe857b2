"""`usher audit erase …`: propose it, as the person whose key it is, or else as the operator."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from usher.cli_audit_proposals import Key, Reason, ask, tell
from usher.cli_output import Json
from usher.errors import UserError

erase = typer.Typer(
    help="Erase a person or a document: proposed by one, approved by another, and carried out, which is final.",
    no_args_is_help=True,
)

Alone = Annotated[
    bool, typer.Option("--break-glass", help="The operator, alone and at once: only where nobody holds audit.erase.")
]


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


def _propose(body: dict[str, Any], alone: bool, key: str | None, json: bool) -> None:
    if alone and key is not None:
        raise UserError("--break-glass", "is the operator's", "leave the key out")
    tell(ask("POST", "/erase", key, body | ({"alone": True} if alone else {})), json)


def add_to(audit: typer.Typer) -> None:
    """`usher audit erase …`."""
    audit.add_typer(erase, name="erase")
