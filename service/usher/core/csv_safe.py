"""Events as a table that opens safely in a spreadsheet: RFC 4180, and no cell that a program takes for a formula."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

USER = "user"
"""The column of people's names, where these were asked for: the name of whoever is in `/who/pseudonym`."""

COLUMNS: Mapping[str, Sequence[str]] = {
    "number": ["/number"],
    "time": ["/time"],
    "type": ["/type"],
    "audit_id": ["/audit_id"],
    "pseudonym": ["/who/pseudonym"],
    "roles": ["/who/roles/*"],
    "credential": ["/who/credential"],
    "operation": ["/operation"],
    "question": ["/question"],
    "subject": ["/subject"],
    "action": ["/action"],
    "object": ["/object"],
    "effect": ["/effect"],
    "reason": ["/reason"],
    "outcome": ["/outcome"],
    "route": ["/route/kind"],
    "policy_version": ["/policy_version"],
    "label_version": ["/label_version"],
    "model": ["/gen_ai.request.model"],
    "documents": ["/document", "/documents/*/document", "/passages/*/document"],
}
"""A column's values in an event: JSON pointers (RFC 6901), where `*` is each element. Different values of a cell stand
in it once each, with spaces between them."""

BOM = "\ufeff"
"""At the beginning of the file: without it the usual spreadsheet reads UTF-8 as something else."""

# A cell is also cut where a program that expects other separators would cut it, so each part must be harmless.
_FORMULA = re.compile(r"(^|[;,|\t\r\n])(?=[\s\"'`\u200b\u00ad\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])")

_HARMLESS = re.compile(r"(?:[0-9A-Za-z][^;,|\t\r\n]*)?")
"""Most cells: no formula, at a glance."""


def safe(text: str) -> str:
    """The text with a `'` before whatever a spreadsheet would take for a formula: `=`, `+`, `-`, `@` (also in their
    wide forms) at its beginning or behind a separator, also after white space and quotes; and a leading tab or line
    break."""
    return text if _HARMLESS.fullmatch(text) else _FORMULA.sub(r"\1'", text)


def line(cells: Iterable[str]) -> str:
    """One record of RFC 4180, each cell in quotes and made safe."""
    quoted = (safe(cell).replace('"', '""') for cell in cells)
    return ",".join(f'"{cell}"' for cell in quoted) + "\r\n"


def header(names: bool) -> list[str]:
    return [*COLUMNS, *([USER] if names else [])]


def cells(event: Mapping[str, Any]) -> list[str]:
    """An event's row, but for its `USER`."""
    return [" ".join(dict.fromkeys(texts(event, pointers))) for pointers in COLUMNS.values()]


@cache
def _keys(pointer: str) -> tuple[str, ...]:
    return tuple(pointer.split("/")[1:])


def texts(event: Mapping[str, Any], pointers: Iterable[str]) -> Iterator[str]:
    """What an event has at these pointers."""
    for pointer in pointers:
        for value in _values(event, _keys(pointer)):
            if value is not None:
                yield value if isinstance(value, str) else json.dumps(value)


def _values(value: Any, keys: Sequence[str]) -> Iterable[Any]:
    for place, key in enumerate(keys):
        if key == "*" and isinstance(value, list):
            return [found for element in value for found in _values(element, keys[place + 1 :])]
        if not isinstance(value, dict) or key not in value:
            return ()
        value = value[key]
    return (value,)
