"""Reviewers' cases, in SQL: what was typed is sealed under a key of the case's own, which the key ring wraps."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog

from usher.backends.keyring import KeyRing, seal, unseal
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_case_tables import audit_case, case_step
from usher.backends.sql_outbox import Finisher, enqueue
from usher.core.cases import Op, Review, Step, case_of
from usher.ledger.sealing import KEY_BYTES, SealBroken
from usher.ports import Change
from usher.ports.cases import CaseRecord

_C, _S = audit_case.c, case_step.c
UNREADABLE = (SealBroken, ValueError, TypeError, AttributeError)
"""What rows that somebody changed raise as they are read."""
_log = structlog.stdlib.get_logger("usher.cases")


class SqlCases:
    """The `CaseStore` port."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database = database
        self._ring = ring

    async def open(self, case: UUID, step: Step, title: str) -> Change:
        key = os.urandom(KEY_BYTES)

        def work(connection: sa.Connection) -> Change:
            wrapped = self._ring.wrap(key, bound(case))  # here, where no erasure wraps keys anew meanwhile
            connection.execute(sa.insert(audit_case).values(id=case, wrapped_key=wrapped))
            return _stored(connection, case, step, _sealed(key, case, step.version, title), 0)

        return await self._database.write(work)

    async def put(self, case: UUID, step: Step, text: str | None, count: int) -> Change | Step | None:
        newest = sa.select(case_step).where(_S.case == case).order_by(_S.version.desc()).limit(1)

        def work(connection: sa.Connection) -> Change | Step | None:
            row = connection.execute(newest).first()
            if row is None or row.version + 1 != step.version:
                return None if row is None else _step(row)
            wrapped = connection.execute(sa.select(_C.wrapped_key).where(_C.id == case)).scalar_one()
            if text is None:
                return _stored(connection, case, step, None, count)
            if wrapped is None:
                return None
            sealed = _sealed(self._ring.unwrap(wrapped, bound(case)), case, step.version, text)
            return _stored(connection, case, step, sealed, count)

        return await self._database.write(work)

    async def read(self, case: UUID) -> CaseRecord | None:
        found = await self._records(sa.select(audit_case).where(_C.id == case))
        return found[0] if found else None

    async def page(self, before: UUID | None, limit: int) -> list[CaseRecord]:
        opened = sa.exists().where(_S.case == _C.id, _S.active)
        cases = sa.select(audit_case).where(opened).order_by(_C.id.desc()).limit(limit)
        return await self._records(cases if before is None else cases.where(_C.id < before), titles_only=True)

    async def _records(self, cases: sa.Select[Any], *, titles_only: bool = False) -> list[CaseRecord]:
        def work(connection: sa.Connection) -> list[CaseRecord]:
            rows = connection.execute(cases).all()
            try:
                return read(connection, rows)
            except UNREADABLE:  # one of them: the others are there all the same
                return [one for row in rows for one in read_one(connection, row)]

        def read_one(connection: sa.Connection, row: AnyRow) -> list[CaseRecord]:
            try:
                return read(connection, [row])
            except UNREADABLE:
                _log.critical("case_damaged", id=str(row.id))
                return [CaseRecord(row.id, (), {}, damaged=True)]

        def read(connection: sa.Connection, rows: Sequence[AnyRow]) -> list[CaseRecord]:
            steps: dict[UUID, list[AnyRow]] = defaultdict(list)
            wanted = sa.select(case_step).where(_S.case.in_([row.id for row in rows]), _S.active)
            if titles_only:  # what is typed may be very much
                unsealed = sa.case((_S.version == 1, _S.sealed), else_=None).label("sealed")
                wanted = wanted.with_only_columns(*(c for c in _S if c is not _S.sealed), unsealed)
            for step in connection.execute(wanted.order_by(_S.version)):
                steps[step.case].append(step)
            return [self._record(row, steps[row.id]) for row in rows if row.id in steps]

        return await self._database.read(work)

    def _record(self, row: AnyRow, steps: Iterable[AnyRow]) -> CaseRecord:
        texts: dict[int, str] = {}
        if row.wrapped_key is not None:
            key = self._ring.unwrap(row.wrapped_key, bound(row.id))
            texts = {s.version: _opened(key, row.id, s.version, s.sealed) for s in steps if s.sealed is not None}
        made = tuple(_step(step) for step in steps)
        case_of(made)
        return CaseRecord(row.id, made, texts, row.wrapped_key is None)


def forget_cases_about(connection: sa.Connection, pseudonym: str) -> int:
    """Take away the keys of the cases that hold an exchange of this person's, and all that they sealed; how many there
    were. Their steps stay."""
    steps = connection.execute(sa.select(_S.case, _S.subjects).where(_S.op == Op.ADD))
    theirs = list({step.case for step in steps if pseudonym in step.subjects})
    connection.execute(sa.update(case_step).where(_S.case.in_(theirs)).values(sealed=None))
    kept = sa.update(audit_case).where(_C.id.in_(theirs), _C.wrapped_key.is_not(None))
    return connection.execute(kept.values(wrapped_key=None)).rowcount


def bound(case: UUID) -> bytes:
    """What a case's key is bound to where it is wrapped."""
    return f"case:{case}".encode()


def _sealed(key: bytes, case: UUID, version: int, text: str) -> tuple[bytes, str]:
    """A text sealed, bound to its place, and the commitment to it: `HMAC-SHA-256(random key, text)` in hex, its key
    sealed with it, so that it tells nothing and dies with the case's key."""
    blind, plain = os.urandom(KEY_BYTES), text.encode()
    commitment = hmac.digest(blind, plain, hashlib.sha256).hex()
    return seal(key, blind + plain, bound(case) + f":{version}".encode()), commitment


def _opened(key: bytes, case: UUID, version: int, sealed: bytes) -> str:
    return unseal(key, sealed, bound(case) + f":{version}".encode())[KEY_BYTES:].decode()


def _stored(connection: sa.Connection, case: UUID, step: Step, sealed: tuple[bytes, str] | None, count: int) -> Change:
    values = {"case": case, "version": step.version, "op": step.op, "by": step.by, "at": step.at, "review": step.review}
    values |= {"exchanges": list(step.exchanges), "subjects": list(step.subjects)}
    more = {"sealed": sealed and sealed[0], "active": False}
    connection.execute(sa.insert(case_step).values(**values, **more))
    payload = {
        "case": str(case),
        "op": step.op.value,
        "version": step.version,
        "by": step.by,
        "exchanges": list(step.exchanges),
        "count": count,
        "review": step.review and step.review.value,
        "commitment": sealed and sealed[1],
    }
    return enqueue(connection, "case", payload, step.at)


def _step(row: AnyRow) -> Step:
    review = None if row.review is None else Review(row.review)
    return Step(row.version, Op(row.op), row.by, row.at, tuple(row.exchanges), review, tuple(row.subjects))


def finish_case(connection: sa.Connection, change: Change) -> None:
    this = (_S.case == UUID(change.payload["case"])) & (_S.version == change.payload["version"])
    connection.execute(sa.update(case_step).where(this).values(active=True))


FINISHERS: Mapping[str, Finisher] = {"case": finish_case}
