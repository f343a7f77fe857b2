"""What the reviewers' index has of single exchanges, by their audit ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from usher.ports.audit_index import Found


@dataclass(frozen=True, slots=True)
class Showing:
    """A passage that an exchange showed, or inherited from one in its prompt: `via` is then the one that showed it.

    `how` is `DIRECT`, `LEARNED`, `INHERITED` or `RETRIEVED`; `number` is that of the event that says so, of `via` if
    inherited.
    """

    document: str
    version: int | None
    chunk: str | None
    access_class: int | None
    rank: int | None
    in_prompt: bool | None
    cited: bool
    how: str
    via: str | None
    number: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question with all that it showed. `number` is its request's, after which its decision comes."""

    number: int
    time: str
    kind: str
    audit_id: str
    pseudonym: str | None
    outcome: str | None
    shown: tuple[Showing, ...]

    @property
    def classes(self) -> frozenset[int | None]:
        """The access classes of what it showed, as they were recorded."""
        return frozenset(showing.access_class for showing in self.shown)


class Exchanges(Protocol):
    """May block, and raises `IndexUnreadable`."""

    def exchanges(self, audit_ids: Sequence[str]) -> Found[Exchange]:
        """Those that there are, in the order of the log; never a view. There is no next page."""

    def latest(self, limit: int) -> Found[Exchange]:
        """The last that have ended, in the order of the log. There is no next page."""

    def asked_by_role(self, since: str) -> Mapping[str, int]:
        """How many chats somebody with a role has begun since a time of the log, by role."""
