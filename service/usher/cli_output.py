"""What the CLI prints. Text from documents and people is cleaned of control characters: it could steer a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from usher.errors import UserError

_STEERING = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def clean(text: object) -> str:
    """Without control and direction-changing characters, except tab and newline."""
    return str(text).translate(_STEERING)


def say(text: str) -> None:
    print(clean(text))


def warn(text: str) -> None:
    print(clean(text), file=sys.stderr)


def dump(value: object) -> None:
    """One JSON value on one line: strings are escaped, so nothing in them reaches a terminal raw."""
    print(json.dumps(value, default=_encode))


def write_out(path: Path, text: str) -> None:
    """Write the file of `--out`, whole or not at all. Raises `UserError`."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, "utf-8")
        part.replace(path)
    except OSError as error:
        raise UserError("--out", f"cannot be written ({error.strerror})", "name a file in a folder of yours") from None


def _encode(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows as aligned columns under their names; nothing but a word where there are none."""
    if not rows:
        print("none")
        return
    cells = [[column.replace("_", " ") for column in columns], *([_cell(row[c]) for c in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return clean(", ".join(map(str, value))) or "-"
    return clean(value)


class Advance(Protocol):
    def __call__(self, done: int, total: int) -> None: ...


@contextmanager
def progress(title: str, *, wanted: bool) -> Iterator[Advance]:
    """A progress bar on standard error; nothing where that is no terminal or it is not wanted."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def counts(report: Mapping[str, Any]) -> str:
    """The whole numbers of a report that are not zero, in words."""
    numbers = [(name, n) for name, n in report.items() if isinstance(n, int) and not isinstance(n, bool) and n]
    return ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in numbers) or "nothing to do"


def bullets(lines: Iterable[str]) -> None:
    for line in lines:
        say(f"  {line}")
