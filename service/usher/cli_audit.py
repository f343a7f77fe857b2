"""`usher audit …`: the record of what was asked, shown and answered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say, table, warn
from usher.cli_road import ask_operator, run
from usher.errors import UserError
from usher.settings import Settings, read_settings

audit = typer.Typer(help="The record of what was asked, shown and answered.", no_args_is_help=True)


def open_ring(settings: Settings) -> Any:
    """The key ring, or None (and a word about it) where it is not here."""
    from usher.backends.keyring import KeyRing, KeyRingError
    from usher.master_key import master_key

    try:
        return KeyRing.open(settings.keyring_path, master_key(settings))
    except KeyRingError as error:
        warn(f"without the key ring: {error}")
        return None


def read_text(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(str(path), f"cannot be read ({type(error).__name__})", "name a text file") from None


def read_key(path: Path | None) -> bytes | None:
    text = read_text(path)
    try:
        return None if text is None else bytes.fromhex(text.strip())
    except ValueError:
        raise UserError("--public-key", "is not hexadecimal", "name a file with 64 hex digits") from None


@audit.command("public-key")
def public_key(json: Json = False) -> None:
    """The public key of the checkpoints, in hex: give it to whoever checks proofs and exports elsewhere."""
    from usher.backends.keyring import KeyRing
    from usher.master_key import master_key

    settings = read_settings()
    key = KeyRing.open(settings.keyring_path, master_key(settings)).public_key.hex()
    if json:
        dump({"public_key": key})
    else:
        say(key)


@audit.command("events")
def events(
    since: Annotated[str | None, typer.Option("--from", help="From this instant on, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Up to this instant.")] = None,
    type: Annotated[str | None, typer.Option(help="Only this type, such as answer.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only this outcome, such as cancelled.")] = None,
    document: Annotated[
        str | None, typer.Option(help="Only about this document, by its id, and all of each exchange that found it.")
    ] = None,
    person: Annotated[str | None, typer.Option(help="Only by or about this user.")] = None,
    after: Annotated[int | None, typer.Option(help="Go on after this event number.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    json: Json = False,
) -> None:
    """Events of the record, without names or text. This reading is itself recorded."""
    given = {"from": since, "to": until, "type": type, "outcome": outcome, "after": after, "limit": limit}
    given |= {"document": document, "person": person}
    params = {name: str(value) for name, value in given.items() if value is not None}
    page = run(ask_operator(read_settings(), "GET", "/operator/audit/events", params=params))
    if json:
        dump(page)
        return
    rows = [{name: event.get(name) for name in COLUMNS} for event in page["events"]]
    table(rows, COLUMNS)
    if page["next"] is not None:
        say(f"more: --after {page['next']}")
    if not page["complete"]:
        warn("the index is behind the record: ask again in a while")


COLUMNS = ("number", "time", "type", "outcome", "audit_id")
