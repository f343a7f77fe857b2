"""A model server, as far as the adapters that it has are concerned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class ServerFailed(Exception):
    """A model server did not do what it was asked, or did not say so: it may have done it all the same."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a server says it has: its base model's names, and its adapters by name, each with the path it was read
    from."""

    base: frozenset[str]
    adapters: Mapping[str, str]


class AdapterServer(Protocol):
    """One model server. What it has loaded it keeps until it is told otherwise or ends; a file that changes meanwhile
    changes nothing in it. Each method takes a bounded time and raises `ServerFailed`."""

    name: str
    """Where it is, for the log."""

    async def loaded(self) -> Loaded:
        """What it has now."""

    async def load(self, name: str, folder: Path) -> None:
        """Load the adapter in this folder under a name that it never had anything else under."""

    async def unload(self, name: str) -> None:
        """Take no new request for this name; those that run are finished."""

    async def close(self) -> None: ...
