"""The texts that a lineage names, opened one after the other to be compared with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import msgspec
import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.keyring import KeyRing, unseal
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_documents import SealedText, version_aad
from usher_lora.lineage import Learned

_SOME = 200
"""Texts that one statement reads."""
_V = t.document_version.c


class SqlLearnedTexts:
    """The `LearnedTexts` port."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database, self._ring = database, ring

    async def other(self, documents: Sequence[Learned]) -> UUID | None:
        told = {(one.document, one.version): one.digest for one in documents}
        places = list(told)
        for start in range(0, len(places), _SOME):
            found = await self._database.read(partial(self._digests, places[start : start + _SOME]))
            for place, digest in found.items():
                if told[place] != digest:
                    return place[0]
        return None

    def _digests(self, places: Sequence[tuple[UUID, int]], connection: sa.Connection) -> dict[tuple[UUID, int], str]:
        columns = (_V.document, _V.version, _V.wrapped_key, _V.sealed_text)
        rows = connection.execute(sa.select(*columns).where(_V.document.in_({document for document, _ in places})))
        wanted = set(places)
        return {
            (row.document, row.version): self._digest(row)
            for row in rows
            if (row.document, row.version) in wanted and row.wrapped_key
        }

    def _digest(self, row: AnyRow) -> str:
        bound = version_aad(row.document, row.version)
        sealed = unseal(self._ring.unwrap(row.wrapped_key, bound), row.sealed_text, bound)
        return hashlib.sha256(msgspec.msgpack.decode(sealed, type=SealedText).text.encode()).hexdigest()
