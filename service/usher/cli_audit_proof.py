"""`usher audit proof`, `consistency` and `check-proof`: an event is in the record, and the record begins as it did."""

from __future__ import annotations

import base64
from collections.abc import Mapping
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


def consistency(
    checkpoint: Annotated[Path, typer.Argument(help="A file with a checkpoint of this record that you hold.")],
    public_key: Annotated[Path | None, typer.Option(help="A file with the log's public key, in hex.")] = None,
    json: Json = False,
) -> None:
    """Prove that the record still begins with what a checkpoint covers that you hold, and check it here.

    Printed as what a C2SP witness is given, for a file: `usher audit check-proof FILE --checkpoint CHECKPOINT` checks
    it elsewhere. This reading is itself recorded. Without the public key, that of the key ring here is used.
    """
    held, key = read_text(checkpoint) or "", _key(public_key)
    body = run(ask_operator(read_settings(), "GET", "/operator/audit/consistency", params={"size": _size_of(held)}))
    _consistent(body["witness_request"], held, key, json, body)


def _consistent(text: str, held: str, key: bytes, json: bool, body: Mapping[str, object] | None = None) -> None:
    """Check a consistency proof and tell, with what was fetched, if it was; ends with 1 if it shows nothing."""
    from usher.ledger.verify.proof import BadProof
    from usher.ledger.verify.tlog_proof import check_consistency

    try:
        shown = check_consistency(text, held, key)
    except BadProof as error:
        raise _not_proven(error, json) from None
    told = (
        f"proven: {shown.origin} begins, with {shown.size} events, with the {shown.old} that the held checkpoint covers"
    )
    if json:
        dump({"ok": True, **asdict(shown), **(body or {})})
    elif body is None:
        say(told)
    else:
        print(text, end="")  # as it is: a file of it must be what was signed
        warn(told)


def _not_proven(error: Exception, json: bool) -> typer.Exit:
    if json:
        dump({"ok": False, "problem": str(error)})
    else:
        say(f"NOT proven: {error}")
    return typer.Exit(1)


def _key(public_key: Path | None) -> bytes:
    """The key that is given, or that of the ring here. Raises `UserError`."""
    key = read_key(public_key)
    if key is None and (ring := open_ring(read_settings())) is not None:
        key = ring.public_key
    if key is None:
        raise UserError("--public-key", "is missing, and no key ring is here", "give it")
    return key


def _size(checkpoint: Path | None) -> str | None:
    """The size that a checkpoint is of."""
    text = read_text(checkpoint)
    return None if text is None else _size_of(text)


def _size_of(text: str) -> str:
    size = text.partition("\n")[2].partition("\n")[0]
    if not (size.isascii() and size.isdecimal() and len(size) < 20):
        raise UserError("--checkpoint", "is not a checkpoint", "name a file with a signed note of this log")
    return size


def check_proof(
    file: Annotated[Path, typer.Argument(help="What `usher audit proof` or `consistency` printed.")],
    public_key: Annotated[Path | None, typer.Option(help="A file with the log's public key, in hex.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="The checkpoint kept elsewhere that it is against.")] = None,
    event: Annotated[Path | None, typer.Option(help="A file with the event's own bytes.")] = None,
    json: Json = False,
) -> None:
    """Check a proof, on any machine. Where neither key nor checkpoint is given, the key ring here is used."""
    from usher.ledger.verify.proof import BadProof
    from usher.ledger.verify.tlog_proof import check_tlog_proof, is_consistency

    text, key, held = read_text(file) or "", read_key(public_key), read_text(checkpoint)
    if is_consistency(text):
        if held is None:
            raise UserError("--checkpoint", "is missing", "a consistency proof is against a checkpoint that you hold")
        _consistent(text, held, _key(public_key), json)
        return
    if key is None and held is None:
        ring = open_ring(read_settings())
        key = None if ring is None else ring.public_key
    if key is None and held is None:
        raise UserError("--public-key", "is missing, and no key ring is here", "give it, or --checkpoint")
    try:
        proven = check_tlog_proof(text, key=key, held=held, event=_bytes(event))
    except BadProof as error:
        raise _not_proven(error, json) from None
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
