"""API keys: `usher-<id>-<secret>`, stored as SHA-256 of the secret, judged anew at every barrier.

The secret is 256 random bits, so a plain digest is enough (no password hashing); it is compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_outbox import Finisher, enqueue
from usher.backends.sql_policy import versions_of
from usher.backends.sql_row import REMEMBERED, OneRow
from usher.core.standing import Credential, KeyRecord, PersonRecord, Standing, expired, judge
from usher.ports import Change, KeyInfo

_FORM = re.compile(r"usher-([0-9a-f]{16})-([A-Za-z0-9_-]{43})")


def make_secret() -> tuple[str, str, bytes]:
    """A new key: its id, the full text that is shown once, and the digest to store."""
    key, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    return key, f"usher-{key}-{secret}", _digest(secret)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class SqlIdentity:
    """The `Identity` port: one query brings the key, the person and the versions in force."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._standing = OneRow(database, _STANDING, "key")
        self._judged: OrderedDict[str, tuple[AnyRow, Standing]] = OrderedDict()

    async def resolve(self, secret: str, now: datetime) -> Standing | None:
        form = _FORM.fullmatch(secret)
        if form is None:
            return None
        row = await self._row(form[1])
        if not hmac.compare_digest(_digest(form[2]), row.digest or b""):
            return None
        return _judge(row, now)

    async def recheck(self, credential: Credential, now: datetime) -> Standing:
        """The same object for as long as its row is the same."""
        row = await self._row(credential.id)
        known = self._judged.get(credential.id)
        if known is not None and known[0] is row and not expired(known[1].credential, now):
            return known[1]
        standing = _judge(row, now) or Standing(credential, versions_of(row), denied="key_unknown")
        if standing.denied is None:
            self._judged[credential.id] = row, standing
            if len(self._judged) > REMEMBERED:
                self._judged.popitem(last=False)
        return standing

    async def of_person(self, user: str, now: datetime) -> Standing:
        row = await self._database.glance(lambda connection: connection.execute(_PERSON, {"who": user}).one())
        credential = Credential("person", "", user)
        held, versions = KeyRecord(credential, active=True, revoked=False), versions_of(row)
        return judge(held, _person(row), versions, now) or Standing(credential, versions, denied="unknown")

    async def _row(self, key: str) -> AnyRow:
        return await self._standing.of(key)


_STANDING = (
    sa.select(t.state, t.api_key, t.person.c.active.label("person_active"), t.person.c.groups)
    .add_columns(t.api_key.c.id.label("key_id"), t.api_key.c.active.label("key_active"), t.person.c.pending_groups)
    .select_from(
        t.state.outerjoin(t.api_key, t.api_key.c.id == sa.bindparam("key")).outerjoin(
            t.person, t.person.c.user == t.api_key.c.user
        )
    )
)

_PERSON = (
    sa.select(t.state, t.person.c.active.label("person_active"), t.person.c.groups, t.person.c.pending_groups)
).select_from(t.state.outerjoin(t.person, t.person.c.user == sa.bindparam("who")))


def _judge(row: AnyRow, now: datetime) -> Standing | None:
    if row.key_id is None:
        return None
    credential = Credential("key", row.key_id, row.user, row.purpose, row.expires_at)
    key = KeyRecord(credential, row.key_active, row.revoked_at is not None)
    return judge(key, _person(row), versions_of(row), now)


def _person(row: AnyRow) -> PersonRecord | None:
    if row.person_active is None:
        return None
    pending = None if row.pending_groups is None else tuple(row.pending_groups)
    return PersonRecord(row.person_active, tuple(row.groups), pending)


class SqlKeys:
    """The `Keys` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_key(self, key: KeyInfo, digest: bytes) -> Change:
        values = {
            "id": key.id,
            "user": key.user,
            "purpose": key.purpose,
            "issuer": key.issuer,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
        }

        def work(connection: sa.Connection) -> Change:
            connection.execute(sa.insert(t.api_key).values(**values, digest=digest, active=False))
            payload = {"key": key.id, "user": key.user, "act": "issue", "by": key.issuer, "purpose": key.purpose}
            return enqueue(connection, "key", payload, key.created_at)

        return await self._database.write(work)

    async def revoke(self, key: str, by: str, now: datetime) -> Change | None:
        """Deny the key from this transaction on; None if there is no such key, or it was revoked before."""

        def work(connection: sa.Connection) -> Change | None:
            column = t.api_key.c
            statement = sa.update(t.api_key).where(column.id == key, column.revoked_at.is_(None))
            user = connection.execute(statement.values(revoked_at=now).returning(column.user)).scalar_one_or_none()
            if user is None:
                return None
            return enqueue(connection, "key", {"key": key, "user": user, "act": "revoke", "by": by}, now)

        return await self._database.write(work)

    async def keys(self, user: str | None) -> list[KeyInfo]:
        statement = sa.select(t.api_key).where(t.api_key.c.active).order_by(t.api_key.c.created_at, t.api_key.c.id)
        if user is not None:
            statement = statement.where(t.api_key.c.user == user)

        def work(connection: sa.Connection) -> list[KeyInfo]:
            return [_info(row) for row in connection.execute(statement)]

        return await self._database.read(work)


def _info(row: AnyRow) -> KeyInfo:
    return KeyInfo(row.id, row.user, row.purpose, row.issuer, row.created_at, row.expires_at, row.revoked_at)


def finish_key(connection: sa.Connection, change: Change) -> None:
    if change.payload["act"] == "issue":
        connection.execute(sa.update(t.api_key).where(t.api_key.c.id == change.payload["key"]).values(active=True))


FINISHERS: Mapping[str, Finisher] = {"key": finish_key}
