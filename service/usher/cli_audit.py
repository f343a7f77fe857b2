"""`usher audit …`: the record of what was asked, shown and answered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usher.cli_output import Json, bullets, dump, progress, say, table, warn
from usher.cli_road import ask_operator, run
from usher.errors import UserError
from usher.settings import Settings, read_settings

if TYPE_CHECKING:
    from usher.ledger.verify import Verdict

audit = typer.Typer(help="The record of what was asked, shown and answered.", no_args_is_help=True)


@audit.command("verify")
def verify(
    checkpoint: Annotated[Path | None, typer.Option(help="A checkpoint kept elsewhere, to hold the record to.")] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="A file with the checkpoints' public key, in hex, where the key ring is not.")
    ] = None,
    json: Json = False,
) -> None:
    """Recompute the whole record. Only reads: also beside a running server, or on a copy of the data folder.

    Without the key ring neither content nor the events since the last checkpoint are vouched for, and without its
    public key signatures are checked with the key in the file itself, which shows damage but no forger.
    """
    from usher.ledger.verify import verify as recompute

    settings = read_settings()
    path = settings.home / "ledger.sqlite"
    if not path.is_file():
        raise UserError("USHER_HOME", f"({settings.home}) holds no ledger.sqlite", "name a data folder that was used")
    with progress("events", wanted=not json) as advance:
        verdict = recompute(
            path,
            ring=open_ring(settings),
            public_key=read_key(public_key),
            held=read_text(checkpoint),
            progress=advance,
        )
    if json:
        dump({name: getattr(verdict, name) for name in type(verdict).__dataclass_fields__})
    else:
        for line in told(verdict):
            say(line)
        bullets(verdict.problems)
    raise typer.Exit(0 if verdict.ok else 1)


def told(verdict: Verdict) -> list[str]:
    """A verdict in words, which claim no more than was checked."""
    state = "is NOT whole" if not verdict.ok else "agrees with itself" if verdict.signatures == "own" else "is whole"
    newest = f" (the last {verdict.uncovered} in no checkpoint yet)" if verdict.uncovered else ""
    lines = [f"the record {state}: {verdict.size} events, root {verdict.root}{newest}, content {verdict.content}"]
    if verdict.first_bad is not None:
        lines.append(f"first bad event: {verdict.first_bad}")
    if verdict.signatures == "own":
        lines.append(
            "signatures were checked with the file's own key only, which a forger can put there: "
            "use the key ring, or --public-key"
        )
    if verdict.content == "unchecked":
        lines.append("content was not checked: that needs the key ring")
    if verdict.uncovered and verdict.signatures != "ring":
        lines.append(f"nothing vouches for the last {verdict.uncovered} events: that needs the key ring")
    return lines


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


@audit.command("events")
def events(
    since: Annotated[str | None, typer.Option("--from", help="From this instant on, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Up to this instant.")] = None,
    type: Annotated[str | None, typer.Option(help="Only this type, such as answer.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only this outcome, such as cancelled.")] = None,
    after: Annotated[int | None, typer.Option(help="Go on after this event number.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    json: Json = False,
) -> None:
    """Events of the record, without names or text. This reading is itself recorded."""
    given = {"from": since, "to": until, "type": type, "outcome": outcome, "after": after, "limit": limit}
    params = {name: str(value) for name, value in given.items() if value is not None}
    page = run(ask_operator(read_settings(), "GET", "/operator/audit/events", params=params))
    if json:
        dump(page)
        return
    rows = [{name: event.get(name) for name in COLUMNS} for event in page["events"]]
    table(rows, COLUMNS)
    if page["next"] is not None:
        say(f"more: --after {page['next']}")


COLUMNS = ("number", "time", "type", "outcome", "audit_id")
