"""The reviewers' index of who was shown what, and the names behind its ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

T = TypeVar("T")

DIRECT = "direct"
"""It was in the prompt, in a search's result or on the page that was viewed."""
LEARNED = "learned"
"""The adapter that answered had learned it."""
INHERITED = "inherited"
"""Something earlier in the prompt, or viewed again, showed it."""
RETRIEVED = "retrieved"
"""It was found for the question, but stood neither in the prompt nor in an answer."""


class IndexUnreadable(Exception):
    """The index can neither be read nor go on now. It passes by itself; the ledger is unharmed by it."""


@dataclass(frozen=True, slots=True)
class Between:
    """Entries numbered above `after`, at most `limit`, from `since` (included) to `until` (excluded); both are times
    as events have them."""

    after: int
    limit: int
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Within:
    """How far somebody may know of documents: of those that were of these access `classes`, but of the `hidden` ones,
    whose class of now is another. An entry about none of them is not there (but with `everything` one that is about no
    document at all is), and of any other it tells nothing."""

    classes: frozenset[int]
    hidden: frozenset[str] = frozenset()
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: about a document (its own events, and all of each entry that found it), by or about somebody's
    `pseudonym`, uses of `break_glass`, readings of the log (`uses`); of these types and outcome. All that is given must
    hold."""

    document: UUID | None = None
    pseudonym: str | None = None
    break_glass: bool = False
    uses: bool = False
    types: frozenset[str] = frozenset()
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class What:
    """A document (None: one that is not there, which nobody saw); with `version`, that one's passages; with `chunk`,
    that passage, or all of the document on a page or in a list."""

    document: UUID | None
    version: int | None = None
    chunk: UUID | None = None


@dataclass(frozen=True, slots=True)
class ShownPassage:
    """`chunk` is null for a whole document, `in_prompt` where there was no prompt. `learned`: it was not found, but the
    adapter that answered had learned it; `document` is then, unless that was asked for, a part of what it learned: all
    that had one access class (`core/learned.py`)."""

    document: str
    version: int | None
    chunk: str | None
    access_class: int | None
    rank: int | None
    in_prompt: bool | None
    cited: bool
    learned: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A question (`chat`, `search`) or a `view`, and what it showed. `number` is its first event's.

    `earlier` are the exchanges that stood in its prompt or were viewed again. Where a document was asked for,
    `passages` are that document's, `how` says how it was seen, and `via` through which of `earlier`, if inherited;
    where it was learned, by `adapter`.
    """

    number: int
    time: str
    kind: str
    audit_id: str | None
    pseudonym: str | None
    outcome: str | None
    policy_version: int | None
    route: str | None
    model: str | None
    adapter: str | None
    how: str | None
    via: str | None
    earlier: tuple[str, ...]
    passages: tuple[ShownPassage, ...]
    roles: tuple[str, ...] = ()
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """A question that was denied or refused. `number` is the event's that says so, `time` that of the question."""

    number: int
    time: str
    kind: str
    audit_id: str | None
    pseudonym: str | None
    reason: str
    action: str | None
    object: str | None
    outcome: str | None
    policy_version: int | None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What the index has, by the first `indexed` of the ledger's `size` events. `next`: the number to go on after (a
    page may have few entries, or none, where more follow), None at the end. `through`: the documents by which the
    entries are `within` what was asked, where that is limited."""

    indexed: int
    size: int
    entries: Sequence[T]
    next: int | None
    through: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Exposed:
    """An exchange that has ended: whose it was, and each document that it found or inherited, with its classes then."""

    number: int
    pseudonym: str
    documents: frozenset[tuple[str, int | None]]


class AuditIndex(Protocol):
    """Built by `step` from the ledger. All methods may block, and raise `IndexUnreadable`. `within` None: no limit."""

    def step(self) -> bool:
        """Take in the next events; True if there may be more. By one thread at a time; the rest by any."""

    def who_saw(self, what: What, between: Between, within: Within | None = None) -> Found[Seen]: ...

    def saw(self, pseudonym: str | None, between: Between, within: Within | None = None) -> Found[Seen]:
        """What somebody was shown; None is nobody."""

    def by_adapter(self, adapter: str, between: Between, within: Within | None = None) -> Found[Seen]:
        """Every answer of an adapter: of one by its served name, or of all that the policy calls so."""

    def touched(self, classes: Collection[int], between: Between, within: Within | None = None) -> Found[Seen]:
        """Whatever found, showed or inherited a document that was of any of these access classes."""

    def decided_under(self, version: int, between: Between, within: Within | None = None) -> Found[Seen]:
        """Whatever showed something under a policy version."""

    def denied(self, between: Between, within: Within | None = None) -> Found[Denial]: ...

    def events(self, wanted: Wanted, between: Between, within: Within | None = None) -> Found[Mapping[str, Any]]:
        """The events themselves, cut to what is within."""

    def exposed(self, audit_id: str) -> Exposed | None:
        """None for an exchange that is not there, or not ended."""

    def has_adapter(self, adapter: str) -> bool: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class DocumentName:
    source: str
    path: str
    title: str | None


class DocumentNames(Protocol):
    """What documents are called, whoever may read them: for reviewers who may know it, deleted ones too."""

    async def named(self, documents: Sequence[UUID]) -> dict[UUID, DocumentName]: ...

    async def at(self, path: str, source: str | None) -> list[UUID]:
        """The documents at a path, of one source or of any."""
