"""The lines of a rule file, in Casbin's CSV: fields apart by commas, white space around them dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_FIELDS: Final = 16
"""Fields of a line that are told apart; no rule has half as many, and an endless line must not become a long list."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line that is neither empty nor a comment: its number (from 1), its first field, and the values after it."""

    line: int
    kind: str
    values: tuple[str, ...]


def rows(text: str) -> Iterator[Row]:
    """The rows of `text`, lazily. Lines end at a line feed only, as Casbin reads them; `#` begins a comment line."""
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            kind, *values = (field.strip() for field in stripped.split(",", MAX_FIELDS))
            yield Row(number, kind, tuple(values))
