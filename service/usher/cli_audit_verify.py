"""`usher audit verify`: the record recomputed, wherever it lies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usher.cli_audit import open_ring, read_key, read_text
from usher.cli_audit_export import check_export
from usher.cli_output import Json, bullets, dump, progress, say, warn
from usher.errors import UserError
from usher.settings import Settings, read_settings

if TYPE_CHECKING:
    from usher.ledger.verify import Means, Trust, Verdict

FILE = "ledger.sqlite"
UNREADABLE = "the ledger cannot be read further"
_POSTGRESQL = ("postgresql://", "postgres://", "postgresql+psycopg://")


def verify(
    target: Annotated[
        str | None,
        typer.Argument(
            help="A data folder or a copy of it, its ledger.sqlite, a postgresql:// URL, or an export. Default: ours."
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A file with one or more checkpoints kept elsewhere, to hold the record to.")
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="A file with the checkpoints' public key, in hex, where the key ring is not.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="A file to keep in it where this stands, and to go on from it the next time.")
    ] = None,
    json: Json = False,
) -> None:
    """Recompute the whole record. Only reads: also beside a running server, or on a copy of the data folder.

    Without the key ring neither content nor the events since the last checkpoint are vouched for, and without its
    public key signatures are checked with the key in the record itself, which shows damage but no forger. With
    --resume, what was verified before is not read again. Our own is also held to the checkpoint beside its key ring.
    """
    from usher.backends.known_checkpoint import KnownCheckpoint
    from usher.ledger.verify import Means
    from usher.ledger.verify.export import is_export

    if target is not None and is_export(Path(target)):
        raise typer.Exit(0 if check_export(Path(target), public_key, checkpoint, json) else 1)
    settings = read_settings()
    where = _where(target, settings)
    key, held = read_key(public_key), read_text(checkpoint)
    ring = open_ring(_beside(where, settings) if target else settings)
    known = None if target else KnownCheckpoint(settings.keyring_path).read()
    with progress("events", wanted=not json) as advance:
        verdict = _verified(where, Means(ring, key, held, advance, resume, known))
    if json:
        dump(asdict(verdict))
    else:
        _tell(verdict)
    raise typer.Exit(0 if verdict.ok else 1)


def _where(target: str | None, settings: Settings) -> str | Path:
    """The URL or file that is meant. Raises `UserError`."""
    if target is None and settings.ledger_url is not None:
        target = settings.ledger_url.get_secret_value()
    if target is not None and target.startswith(_POSTGRESQL):
        return target.replace("postgresql+psycopg:", "postgresql:", 1)
    path = settings.home if target is None else Path(target)
    name = "USHER_HOME" if target is None else "TARGET"
    if path.is_dir():
        path /= FILE
    if not path.is_file():
        raise UserError(name, f"({path.parent}) holds no {FILE}", "name a data folder that was used")
    return path


def _beside(where: str | Path, settings: Settings) -> Settings:
    """Where the key ring of a copy is looked for: where the settings say, or else beside the copy."""
    return settings if isinstance(where, str) else settings.model_copy(update={"home": where.resolve().parent})


def _verified(where: str | Path, means: Means) -> Verdict:
    from functools import partial

    from usher.ledger.verify import postgresql, verify_file, verify_opened

    if isinstance(where, str):
        return verify_opened(partial(postgresql.opened, where), means)
    return verify_file(where, means)


def _tell(verdict: Verdict) -> None:
    for line in told(verdict):
        say(line)
    bullets(verdict.problems)
    for line in verdict.warnings:
        warn(line)


def told(verdict: Verdict) -> list[str]:
    """A verdict in words, which claim no more than was checked."""
    state = "is NOT whole" if not verdict.ok else "agrees with itself" if verdict.signatures == "own" else "is whole"
    if verdict.size == 0 and verdict.problems and all(UNREADABLE in problem for problem in verdict.problems):
        return ["the record could NOT be read: nothing is known of it"]
    newest = f" (the last {verdict.uncovered} in no checkpoint yet)" if verdict.uncovered else ""
    lines = [f"the record {state}: {verdict.size} events, root {verdict.root}{newest}, content {verdict.content}"]
    if verdict.first_bad is not None:
        lines.append(f"first bad event: {verdict.first_bad}")
    if not verdict.ok:
        lines += _still_good(verdict.trusted)
    if verdict.pending:
        lines.append(f"{verdict.pending} events are acknowledged and wait for their place: they were not checked")
    if verdict.open:
        lines.append(f"{verdict.open} answers have not ended: no event commits yet to what was shown of them")
    if verdict.signatures == "own":
        lines.append(
            "signatures were checked with the record's own key only, which a forger can put there: "
            "use the key ring, or --public-key"
        )
    if verdict.content == "unchecked":
        lines.append("content was not checked: that needs the key ring")
    if verdict.uncovered and verdict.signatures != "ring":
        lines.append(f"nothing vouches for the last {verdict.uncovered} events: that needs the key ring")
    return lines


_BY = {
    "held": "the checkpoint that you hold",
    "stored": "a checkpoint that is stored with them, against all who do not have its key",
    "ring": "the key ring, against all who do not have it",
}


def _still_good(trusted: Iterable[Trust]) -> list[str]:
    lines = [f"events 1 to {trust.events} are as they were recorded, by {_BY[trust.by]}" for trust in trusted]
    return lines or ["nothing vouches for any of its events any more"]
