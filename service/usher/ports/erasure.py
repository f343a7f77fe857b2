"""What erasing somebody or a document asks of the metadata database, the key ring and the legal holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from usher.core.holds import Hold
from usher.ledger.log import Ring


class RenewedRing(Ring, Protocol):
    """A key ring whose wrapping keys are renewed and destroyed, in its file before they are in memory. What it raises
    says what to mend, and that nothing was lost."""

    @property
    def retired(self) -> int:
        """How many wrapping keys there are beside the current one."""

    def is_current(self, blob: bytes) -> bool: ...

    def renew(self, master_key: bytes | None = None) -> None: ...

    def destroy_retired(self, master_key: bytes | None = None) -> None: ...


class Erasable(Protocol):
    """The metadata database. Each method but `scrub` is made of transactions that leave nothing half done."""

    async def forget_person(self, item: UUID, user: str | None, pseudonym: str) -> Mapping[str, int]:
        """Take away all rows that are the person's, and what was typed in proposals by or about them; how many of each
        there were, as kept with the proposal `item` at the first time. `user` None: their name opens no more, as after
        an erasure that was cut off; then what is of nobody whom the directory has goes, since theirs went from it."""

    async def version_keys(self, document: UUID) -> Sequence[bytes] | None:
        """The wrapped keys of the document's versions; None where there is no such document."""

    async def forget_document(self, item: UUID, document: UUID) -> Mapping[str, int]:
        """Take away the texts, titles and keys of all versions of a deleted document, its chunks with their token
        vectors, and what was typed about it; counts as above. What it was shelved as stays: old answers are judged by
        it."""

    async def counts(self, item: UUID) -> Mapping[str, int]:
        """What was counted for this proposal."""

    async def rewrap(self, left_out: Collection[UUID]) -> int:
        """Wrap every key that opens and is not under the current wrapping key anew, but those of the documents that
        are left out; how many there were."""

    async def scrub(self, tables: Collection[str]) -> None:
        """Overwrite what the database still keeps of rows that went from these tables."""


class Holding(Protocol):
    """The legal holds, which override erasure: while there is one, nothing is taken away. None is placed while
    somebody has the `gate`."""

    def gate(self) -> AbstractAsyncContextManager[None]: ...

    async def over_person(self, pseudonym: str) -> Sequence[Hold]:
        """On the person, or on anything that is recorded of theirs."""

    async def over_document(self, document: UUID) -> Sequence[Hold]:
        """On the document, or on where it is shelved."""
