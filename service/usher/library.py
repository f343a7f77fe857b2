"""Documents that people read: pages of a list, and one document's text. What is shown is recorded before it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from usher.authority import Authority, Grant
from usher.errors import UserError
from usher.ledger.record import EventType
from usher.ledger.sequencer import Ledger
from usher.ports import DocumentInfo, Documents, Opened
from usher.retrieve import denied
from usher.viewing import NotPermitted, Viewing, view_body

T = TypeVar("T")


class NoSuchDocument(UserError):
    """A foreign document, an absent one, and what is no id at all: one answer for all of them."""

    status = 404

    def __init__(self) -> None:
        super().__init__("document", "does not exist, or you may not read it", "GET /api/documents lists what you may")


class Library:
    """Reading, judged before the record and again after it."""

    def __init__(self, authority: Authority, ledger: Ledger, documents: Documents) -> None:
        self._viewing = Viewing(authority, ledger)
        self._documents = documents

    async def page(self, grant: Grant, after: UUID | None, limit: int) -> tuple[list[DocumentInfo], bool]:
        """A page of the documents that the grant's holder may read, by id, and whether more follow.

        Raises `NotPermitted`, `LedgerUnavailable`.
        """

        async def look(classes: Sequence[int]) -> list[DocumentInfo]:
            return await self._documents.page(classes, after, limit + 1)

        found = await self._viewed(grant, look, lambda found: found[:limit])
        return found[:limit], len(found) > limit

    async def read(self, grant: Grant, document: UUID, chunk: UUID | None = None) -> Opened:
        """One document with its text; with `chunk`, that passage in the version that it is of.

        The requirements of now decide, and for an earlier version those that it had too. What is not there is no view.
        Raises `NoSuchDocument`, `NotPermitted`, `LedgerUnavailable`.
        """

        async def look(classes: Sequence[int]) -> Opened:
            opened = await self._documents.open(document, classes, chunk)
            if opened is None:
                raise NoSuchDocument
            return opened

        return await self._viewed(grant, look, lambda opened: [opened.info], chunk)

    async def _viewed(
        self,
        grant: Grant,
        look: Callable[[Sequence[int]], Awaitable[T]],
        shown: Callable[[T], Sequence[DocumentInfo]],
        chunk: UUID | None = None,
    ) -> T:
        """What `look` finds in the scope, recorded."""

        def entry(grant: Grant, found: T) -> tuple[EventType, dict[str, Any]]:
            return EventType.VIEW, view_body(grant, documents=_shown(grant, shown(found), chunk))

        return await self._viewing.recorded(grant, "document", lambda grant: look(_classes(grant)), entry)


def _classes(grant: Grant) -> tuple[int, ...]:
    refusal = denied(grant)
    if refusal is not None:
        raise NotPermitted("key", f"opens no documents any more ({refusal})", "ask your administrator")
    return grant.scope.classes


def _shown(grant: Grant, shown: Sequence[DocumentInfo], chunk: UUID | None) -> list[dict[str, Any]]:
    """Which documents a list or a page showed: ids, versions and access classes, no names."""
    catalog = grant.snapshots[0].catalog
    classes = {catalog.classes[ident]: ident for ident in grant.scope.classes}
    return [
        {
            "document": str(info.id),
            "version": info.version,
            "access_class": classes.get(frozenset(info.requirements)),
            **({} if chunk is None else {"chunk": str(chunk)}),
        }
        for info in shown
    ]
