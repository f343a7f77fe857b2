"""Proposals and break-glass acts, in SQL: people by pseudonym, the typed reason sealed under a key of its own."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from usher.audit.deciders import ERASE_DOCUMENT, ERASE_PERSON
from usher.backends.keyring import KeyRing, SealBroken, seal, unseal
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_outbox import Finisher, enqueue
from usher.backends.sql_proposal_tables import proposal
from usher.core.approval import Approval, End, Outcome, Proposal
from usher.core.break_glass import BreakGlass, Review
from usher.ledger.sealing import KEY_BYTES
from usher.ports import Change
from usher.ports.proposals import Item
from usher_policy.vocabulary import split_name, typed

_P = proposal.c
_ENDED = frozenset({"refused", "withdrawn"})


class SqlProposals:
    """The `ProposalStore` port."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database, self._ring = database, ring

    async def add(self, item: Item, event: Mapping[str, Any]) -> Change:
        copied = ("id", "kind", "subject", "created_at", "revision", "done_at")
        values = {name: getattr(item, name) for name in copied} | {
            "alone": isinstance(item.stands, BreakGlass),
            "parts": list(item.parts),
            "pending": encoded_state(item.stands),
        }

        def work(connection: sa.Connection) -> Change:
            change = enqueue(connection, "approval", event, item.created_at)
            sealed = self._sealed(item)
            connection.execute(sa.insert(proposal).values(**values, **sealed, outbox=change.id))
            return change

        return await self._database.write(work)

    async def put(self, item: Item, event: Mapping[str, Any], now: datetime) -> Change | None:
        this = (_P.id == item.id) & (_P.revision == item.revision) & _P.outbox.is_(None)

        def work(connection: sa.Connection) -> Change | None:
            if connection.execute(sa.select(_P.id).where(this)).first() is None:
                return None
            change = enqueue(connection, "approval", event, now)
            statement = sa.update(proposal).where(this)
            connection.execute(statement.values(pending=encoded_state(item.stands), outbox=change.id))
            return change

        return await self._database.write(work)

    async def get(self, item: UUID) -> Item | None:
        found = await self._items(_ITEMS.where(_P.id == item))
        return found[0] if found else None

    async def page(self, kinds: Collection[str], before: UUID | None, limit: int) -> list[Item]:
        statement = _ITEMS.where(_P.kind.in_(kinds)).order_by(_P.id.desc()).limit(limit)
        return await self._items(statement if before is None else statement.where(_P.id < before))

    async def undone(self, kinds: Collection[str]) -> list[Item]:
        statement = _ITEMS.where(_P.done_at.is_(None), _P.kind.in_(kinds)).order_by(_P.created_at, _P.id)
        return [item for item in await self._items(statement) if item.granted]

    async def done(self, item: UUID, now: datetime) -> None:
        statement = sa.update(proposal).where(_P.id == item, _P.done_at.is_(None)).values(done_at=now)

        def work(connection: sa.Connection) -> None:
            connection.execute(statement)

        await self._database.write(work)

    async def _items(self, statement: sa.Select[Any]) -> list[Item]:
        def work(connection: sa.Connection) -> list[Item]:
            return [self._item(row) for row in connection.execute(statement)]

        return await self._database.read(work)

    def _sealed(self, item: Item) -> dict[str, bytes | None]:
        key, bound = os.urandom(KEY_BYTES), reason_aad(item.id)
        sealed = seal(key, (item.reason or "").encode(), bound)
        return {"wrapped_key": self._ring.wrap(key, bound), "sealed_reason": sealed}

    def _item(self, row: AnyRow) -> Item:
        reason = self._reason(row)
        stands = break_glass_of(row.state, reason) if row.alone else proposal_of(row.state)
        parts = tuple(row.parts)
        return Item(row.id, row.kind, parts, row.subject, row.created_at, stands, reason, row.revision, row.done_at)

    def _reason(self, row: AnyRow) -> str | None:
        if row.wrapped_key is None or row.sealed_reason is None:
            return None
        bound = reason_aad(row.id)
        try:
            return unseal(self._ring.unwrap(row.wrapped_key, bound), row.sealed_reason, bound).decode()
        except SealBroken:  # its key was destroyed, or a copy without its ring is read
            return None


_ITEMS = sa.select(proposal).where(_P.state.is_not(sa.null()))


def reason_aad(item: UUID) -> bytes:
    """What a proposal's key and its typed reason are bound to."""
    return f"usher proposal {item}".encode()


def encoded_state(stands: Proposal | BreakGlass) -> dict[str, object]:
    """How something stands, as it is kept: people by pseudonym, nothing that was typed."""
    return stands.as_json(lambda user: split_name(user)[1])


def _user(pseudonym: str) -> str:
    return typed("user", pseudonym)


def proposal_of(said: Mapping[str, Any]) -> Proposal:
    """A proposal as it was kept."""
    given = tuple(Approval(_user(one["approver"]), one["digest"], _at(one["at"])) for one in said["approvals"])
    end = said["end"] and End(Outcome(said["end"]["outcome"]), _user(said["end"]["by"]), _at(said["end"]["at"]))
    fixed = (said["id"], said["kind"], said["digest"], _user(said["proposer"]))
    return Proposal(*fixed, _at(said["at"]), _at(said["expires_at"]), said["needed"], given, end)


def break_glass_of(said: Mapping[str, Any], reason: str | None) -> BreakGlass:
    """A break-glass as it was kept, with the reason that was kept beside it."""
    reviewed = said["reviewed"] and Review(_user(said["reviewed"]["by"]), _at(said["reviewed"]["at"]))
    fixed = (said["id"], said["kind"], said["digest"], _user(said["person"]), reason or "erased")
    return BreakGlass(*fixed, _at(said["at"]), _at(said["ends_at"]), reviewed)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def finish_approval(connection: sa.Connection, change: Change) -> None:
    """The state that waited is in force. For what was refused or withdrawn nothing remains to be done; why somebody was
    erased by one person alone is kept until that is reviewed."""
    values: dict[str, Any] = {"state": _P.pending, "pending": None, "outbox": None, "revision": _P.revision + 1}
    if change.payload["act"] in _ENDED:
        values["done_at"] = datetime.now(UTC)
    if change.payload["act"] == "reviewed" and change.payload["act_kind"] in (ERASE_PERSON, ERASE_DOCUMENT):
        values |= {"wrapped_key": None, "sealed_reason": None}
    connection.execute(sa.update(proposal).where(_P.outbox == change.id).values(**values))


FINISHERS: Mapping[str, Finisher] = {"approval": finish_approval}
