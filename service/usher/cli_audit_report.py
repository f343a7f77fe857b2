"""`usher audit report`: figures over a span of the record, as a page to print."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from usher.cli_output import Json, dump, say
from usher.cli_road import refused, road, run
from usher.errors import UserError
from usher.settings import Settings, read_settings


def report(
    out: Annotated[Path, typer.Option(help="The HTML file to write; it must not be there yet.")],
    since: Annotated[str | None, typer.Option("--from", help="From this instant on, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Up to this instant.")] = None,
    names: Annotated[bool, typer.Option("--names", help="People's names and documents' paths too.")] = False,
    json: Json = False,
) -> None:
    """Write one page for print: what was asked, denied and shown, by whose policy, and how to check it.

    It needs nothing else, and no script runs in it. This reading is itself recorded.
    """
    if out.exists():
        raise UserError("--out", f"({out}) is there already", "name a new file")
    if not out.resolve().parent.is_dir():
        raise UserError("--out", f"({out}) lies in no folder", "make the folder first")
    given = {"from": since, "to": until, "names": "true" if names else None}
    page = run(_fetched(read_settings(), {name: value for name, value in given.items() if value is not None}))
    _write(out, page)
    if json:
        dump({"ok": True, "out": str(out), "bytes": len(page)})
    else:
        say(f"the report is in {out}")


async def _fetched(settings: Settings, params: dict[str, str]) -> bytes:
    """Raises `Refused`."""
    async with road(settings) as client:
        response = await client.get("/operator/audit/report", params=params)
        if response.is_error:
            raise refused(response.content)
        return response.content


def _write(out: Path, page: bytes) -> None:
    """All of it or nothing, for whoever runs this only."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(page)
        partial.rename(out)
    finally:
        partial.unlink(missing_ok=True)
