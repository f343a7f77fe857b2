"""`usher audit proof` and `usher audit check-proof`: that an event is in the record, shown elsewhere."""

from __future__ import annotations

import base64
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from usher.cli_audit import open_ring, read_key, read_text
from usher.cli_output import Json, dump, say, warn
from usher.cli_road import ask_operator, run
from usher.errors import UserError
from usher.settings import read_settings

_ENCODED_KEY = 44
"""Characters at a verifier key's end: 33 bytes in base64, in which a `+` may stand too."""


def proof(
    number: Annotated[int, typer.Argument(min=1, help="The event's number, as `usher audit events` lists it.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint kept elsewhere, to prove the event against. Default: the newest.")
    ] = None,
    json: Json = False,
) -> None:
    """Prove that an event is in the record: its hash, and the hashes from it up to a signed checkpoint.

    Nothing of what it says is told. Printed as a C2SP tlog-proof, for a file. This reading is itself recorded.
    """
    size = _size(checkpoint)
    params = None if size is None else {"size": size}
    body = run(ask_operator(read_settings(), "GET", f"/operator/audit/proof/{number}", params=params))
    if json:
        dump(body)
        return
    print(body["tlog_proof"], end="")  # as it is: a file of it must be what was signed
    for line in how_to_check(body["key"]):
        warn(line)


def how_to_check(key: str) -> list[str]:
    """What whoever gets a proof needs to know."""
    public = base64.b64decode(key[-_ENCODED_KEY:])[1:].hex()
    return [
        "To check it on any machine, put it in a file: usher audit check-proof FILE --public-key KEYFILE",
        f"where KEYFILE holds {public} (get it from somebody you trust, not with the proof),",
        "or --checkpoint NOTE, a checkpoint that you hold; --event FILE holds the event's own bytes against it.",
        "Without Usher: the `extra` is SHA-256(0x00 || event); with `index` and the hashes below it, RFC 9162",
        "(2.1.3.2) gives the root on the third line of the checkpoint, a note signed with Ed25519 (C2SP signed-note).",
    ]


def _size(checkpoint: Path | None) -> str | None:
    """The size that a checkpoint is of."""
    text = read_text(checkpoint)
    if text is None:
        return None
    size = text.partition("\n")[2].partition("\n")[0]
    if not (size.isascii() and size.isdecimal() and len(size) < 20):
        raise UserError("--checkpoint", "is not a checkpoint", "name a file with a signed note of this log")
    return size


def check_proof(
    file: Annotated[Path, typer.Argument(help="What `usher audit proof` printed.")],
    public_key: Annotated[Path | None, typer.Option(help="A file with the log's public key, in hex.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="The checkpoint kept elsewhere that it is against.")] = None,
    event: Annotated[Path | None, typer.Option(help="A file with the event's own bytes.")] = None,
    json: Json = False,
) -> None:
    """Check a proof, on any machine. Where neither key nor checkpoint is given, the key ring here is used."""
    from usher.ledger.verify.proof import BadProof
    from usher.ledger.verify.tlog_proof import check_tlog_proof

    key, held = read_key(public_key), read_text(checkpoint)
    if key is None and held is None:
        ring = open_ring(read_settings())
        key = None if ring is None else ring.public_key
    if key is None and held is None:
        raise UserError("--public-key", "is missing, and no key ring is here", "give it, or --checkpoint")
    try:
        proven = check_tlog_proof(read_text(file) or "", key=key, held=held, event=_bytes(event))
    except BadProof as error:
        if json:
            dump({"ok": False, "problem": str(error)})
        else:
            say(f"NOT proven: {error}")
        raise typer.Exit(1) from None
    if json:
        dump({"ok": True, **asdict(proven)})
        return
    say(f"proven: event {proven.number} of {proven.origin} has leaf hash {proven.leaf_hash}")
    say(
        f"it is among the first {proven.size} events, by "
        + ("the held checkpoint" if held else "the signed checkpoint")
    )
    if event is None:
        say("the event's bytes were not given: whether they have that hash was not checked")


def _bytes(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes().removesuffix(b"\n")
    except OSError as error:
        raise UserError(str(path), f"cannot be read ({type(error).__name__})", "name a file") from None
