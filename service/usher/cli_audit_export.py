"""`usher audit export`: events of the record for somebody else, with what proves them there."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usher.cli_audit import open_ring, read_key, read_text
from usher.cli_output import Advance, Json, bullets, dump, progress, say, warn
from usher.cli_road import Refused, refused, road, run
from usher.errors import UserError
from usher.settings import Settings, read_settings

if TYPE_CHECKING:
    from usher.ledger.verify.export import ExportVerdict


def export(
    out: Annotated[Path, typer.Option(help="A folder that is not there yet, or a file NAME.zip.")],
    since: Annotated[str | None, typer.Option("--from", help="From this instant on, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Up to this instant.")] = None,
    type: Annotated[list[str] | None, typer.Option(help="Only this type, such as answer; may be repeated.")] = None,
    document: Annotated[str | None, typer.Option(help="Only what names this document, with its exchange.")] = None,
    person: Annotated[str | None, typer.Option(help="Only what names this person, with its exchange.")] = None,
    pseudonym: Annotated[str | None, typer.Option(help="The same, by pseudonym.")] = None,
    format: Annotated[str, typer.Option(help="jsonl: events as stored; csv: a table of them too.")] = "jsonl",
    names: Annotated[bool, typer.Option("--names", help="People's names and documents' paths too.")] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint kept elsewhere, which the export is to continue provably.")
    ] = None,
    json: Json = False,
) -> None:
    """Take events out of the record, with a proof of each and a signed manifest. This reading is itself recorded.

    `usher audit verify OUT` checks it on any machine. Nothing is at OUT until all of it is there, and checked.
    """
    settings = read_settings()
    given = {
        "from": since,
        "to": until,
        "document": document,
        "person": person,
        "pseudonym": pseudonym,
        "format": format,
        "names": "true" if names else None,
        "held": _size(checkpoint),
    }
    params = [(name, value) for name, value in given.items() if value is not None]
    params += [("type", name) for name in type or ()]
    with _placed(out) as partial, progress("bytes", wanted=not json) as advance:
        run(_fetch(settings, params, partial, advance))
        verdict = _checked(settings, partial, checkpoint)
        _unpack(partial, out)
    if json:
        dump({"ok": True, "out": str(out), "count": verdict.count, "size": verdict.size, "root": verdict.root})
        return
    say(f"{verdict.count} events are in {out}, proven by a checkpoint of {verdict.size}")
    say(f"to check it on any machine: usher audit verify {out} --public-key KEYFILE")
    for line in verdict.untold:
        warn(f"it cannot prove {line}")


async def _fetch(settings: Settings, params: Sequence[tuple[str, str]], file: Path, advance: Advance) -> None:
    """Write what the server sends. Raises `Refused`."""
    import httpx

    async with road(settings) as client:
        try:
            async with client.stream("GET", "/operator/audit/export", params=list(params)) as response:
                if response.is_error:
                    raise refused(await response.aread())
                await _write(response, file, advance)
        except httpx.RemoteProtocolError as error:
            problem = "the export was given up on the way; see the server's log, and run `usher audit verify`"
            raise Refused({"detail": problem}) from error


async def _write(response: Any, file: Path, advance: Advance) -> None:
    done = 0
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
        async for part in response.aiter_raw():
            written.write(part)
            done += len(part)
            advance(done, 0)
        written.flush()
        os.fsync(written.fileno())


def _checked(settings: Settings, file: Path, checkpoint: Path | None) -> ExportVerdict:
    """What arrived, checked as whoever gets it will. Raises `Refused`."""
    from usher.ledger.verify.export import verify_export

    ring = open_ring(settings)
    verdict = verify_export(file, public_key=ring and ring.public_key, held=read_text(checkpoint))
    if not verdict.ok:
        raise Refused({"detail": "the export does not verify: " + "; ".join(verdict.problems)})
    return verdict


@contextmanager
def _placed(out: Path) -> Iterator[Path]:
    """Where to write what will be `out`: beside it, and gone afterwards. Raises `UserError`."""
    if out.exists():
        raise UserError("--out", f"({out}) is there already", "name a new folder, or a new file that ends in .zip")
    if not out.resolve().parent.is_dir():
        raise UserError("--out", f"({out}) lies in no folder", "make the folder first")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)
        shutil.rmtree(_folder(partial), ignore_errors=True)


def _folder(partial: Path) -> Path:
    return partial.with_suffix(".unpacked")


def _unpack(partial: Path, out: Path) -> None:
    """The export at its place: as it is, or as a folder."""
    if out.suffix == ".zip":
        partial.rename(out)
        return
    folder = _folder(partial)
    folder.mkdir(mode=0o700)
    with zipfile.ZipFile(partial) as archive:
        for name in archive.namelist():  # which was checked: only an export's names
            with archive.open(name) as packed, (folder / name).open("xb") as file:
                shutil.copyfileobj(packed, file)
    folder.rename(out)


def _size(checkpoint: Path | None) -> str | None:
    """The size that a held checkpoint is of. Raises `UserError`."""
    from usher.ledger.verify.notes import notes_in

    text = read_text(checkpoint)
    if text is None:
        return None
    lines = notes_in(text, text.partition("\n")[0])[-1].split("\n")
    if len(lines) < 3 or not (lines[1].isascii() and lines[1].isdecimal()):
        raise UserError("--checkpoint", "is no checkpoint", "name a file with a signed note of this log")
    return lines[1]


def check_export(path: Path, public_key: Path | None, checkpoint: Path | None, json: bool) -> bool:
    """Check an export and tell what was found; whether it is whole. Without a key given, the ring's is used if one is
    here."""
    from usher.ledger.verify.export import verify_export

    key = read_key(public_key)
    if key is None:
        ring = open_ring(read_settings())
        key = None if ring is None else ring.public_key
    with progress("events", wanted=not json) as advance:
        verdict = verify_export(path, public_key=key, held=read_text(checkpoint), progress=advance)
    if json:
        dump(asdict(verdict))
        return verdict.ok
    for line in told_export(verdict):
        say(line)
    bullets(verdict.problems)
    return verdict.ok


def told_export(verdict: ExportVerdict) -> list[str]:
    """A verdict in words, which claim no more than was checked."""
    state = "is NOT whole" if not verdict.ok else "agrees with itself" if verdict.signatures == "own" else "is whole"
    lines = [f"the export {state}: {verdict.count} events of a record of {verdict.size}, root {verdict.root}"]
    if verdict.query is not None:
        lines.append("it was asked for: " + (_asked(verdict.query) or "all events"))
    if verdict.first_bad is not None:
        lines.append(f"first bad event: {verdict.first_bad}")
    return lines + [f"not shown by it: {line}" for line in verdict.untold]


def _asked(query: Mapping[str, Any]) -> str:
    told = {**query, "types": " ".join(query.get("types") or ())}
    return ", ".join(f"{name} {value}" for name, value in told.items() if value)
