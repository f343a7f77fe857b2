"""Legal holds: what must be kept, whatever a retention rule or an erasure says. Values and decisions only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from usher.errors import UserError
from usher_policy.vocabulary import ancestors, is_name


class On(StrEnum):
    """What a hold is on. A document's and a collection's cover whatever showed one of it, and it itself."""

    PERSON = "person"
    CONVERSATION = "conversation"
    EXCHANGE = "exchange"
    DOCUMENT = "document"
    COLLECTION = "collection"


@dataclass(frozen=True, slots=True)
class Hold:
    """`target` is a pseudonym, an id, or a collection's typed name (`coll:finance`, which covers what is below it).

    It covers what happened from `since` (included) to `until` (excluded); None is without that end. It binds from when
    it is placed until it is released, whatever these say. `parts` are those of what adapters learned that its document
    is of (`core/learned.py`): whatever showed one of these showed the document. Raises `UserError`.
    """

    id: str
    on: On
    target: str
    since: datetime | None = None
    until: datetime | None = None
    parts: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if self.on is On.COLLECTION and not is_name(self.target, frozenset({"coll"})):
            raise UserError("target", "is not a collection", "write it as coll:finance/payroll")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise UserError("to", "is not after from", "give a later end, or leave one of them out")

    def covers(self, kept: Kept) -> bool:
        """Whether it is on this, at one of its times."""
        return self._is_on(kept) and (not kept.times or any(self._includes(at) for at in kept.times))

    def _includes(self, at: datetime) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)

    def _is_on(self, kept: Kept) -> bool:
        match self.on:
            case On.PERSON:
                return self.target == kept.pseudonym
            case On.CONVERSATION:
                return self.target == kept.conversation
            case On.EXCHANGE:
                return self.target == kept.exchange
            case On.DOCUMENT:
                return not kept.documents.isdisjoint({self.target, *self.parts})
            case On.COLLECTION:
                return any(self.target in (name, *ancestors(name)) for name in kept.collections)


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that may be taken away: an exchange, or all of a person or a document. Ids as text.

    `times` are when it happened (none: always); `documents` are all that it showed or is, by way of earlier exchanges
    too; `collections` their typed names, then and now.
    """

    times: tuple[datetime, ...] = ()
    pseudonym: str | None = None
    conversation: str | None = None
    exchange: str | None = None
    documents: frozenset[str] = field(default_factory=frozenset)
    collections: frozenset[str] = field(default_factory=frozenset)


def held(kept: Kept, holds: Iterable[Hold]) -> tuple[Hold, ...]:
    """The holds that cover it: while there is one, it is not taken away."""
    return tuple(hold for hold in holds if hold.covers(kept))
