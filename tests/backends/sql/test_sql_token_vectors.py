"""Token vectors nearly spell the text: they are kept as the text is."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa
from tests.backends.sql.sql_kit import NOW, Ports, run, staged

from usher.backends import sql_tables as t
from usher.backends.keyring import SealBroken
from usher.core.late import TOKEN_DIMENSIONS, TokenVectors
from usher.ports import Staged


def tokens(count: int, first: int = 0) -> TokenVectors:
    numbers = np.arange(first, first + count * TOKEN_DIMENSIONS) % 101
    return numbers.astype(np.int8).reshape(count, TOKEN_DIMENSIONS)


def with_tokens(path: str = "a.md") -> Staged:
    """A document of three chunks, the last without token vectors."""
    made = staged(path, texts=("one ", "two ", "three"))
    one, two, three = made.chunks
    return replace(made, chunks=(replace(one, tokens=tokens(2)), replace(two, tokens=tokens(3, 50)), three))


def blobs(sql: Ports) -> dict[UUID, bytes]:
    rows = sa.select(t.chunk.c.id, t.chunk.c.sealed_tokens)
    return run(sql.database.read(lambda connection: {r.id: r.sealed_tokens for r in connection.execute(rows)}))


def test_they_come_back_as_they_were(sql: Ports) -> None:
    """With the passage; a chunk may have none."""
    made = with_tokens()
    run(sql.intake.stage([made], NOW))
    found = [run(sql.documents.passages([chunk.id]))[chunk.id].tokens for chunk in made.chunks]
    kept = [None if one is None else one.tolist() for one in found]
    assert kept == [tokens(2).tolist(), tokens(3, 50).tolist(), None]


def test_they_lie_sealed(sql: Ports) -> None:
    """No row of a vector stands in the database as it is."""
    run(sql.intake.stage([with_tokens()], NOW))
    stored = [blob for blob in blobs(sql).values() if blob is not None]
    assert len(stored) == 2
    assert not any(row.tobytes() in blob for blob in stored for row in (*tokens(2), *tokens(3, 50)))


def test_without_the_versions_key_they_are_gone(sql: Ports) -> None:
    """The key that seals the text seals them: one destruction for both."""
    made, other = with_tokens(), with_tokens("b.md")
    run(sql.intake.stage([made, other], NOW))
    version = t.document_version

    def destroy(connection: sa.Connection) -> None:
        foreign = sa.select(version.c.wrapped_key).where(version.c.document == other.document).scalar_subquery()
        connection.execute(sa.update(version).where(version.c.document == made.document).values(wrapped_key=foreign))

    run(sql.database.write(destroy))
    with pytest.raises(SealBroken):
        run(sql.documents.passages([made.chunks[0].id]))


def test_they_open_only_in_their_place(sql: Ports) -> None:
    """Those of one chunk do not pass for another's, even of the same document."""
    made = with_tokens()
    run(sql.intake.stage([made], NOW))
    one, two, _ = (chunk.id for chunk in made.chunks)

    def swap(connection: sa.Connection) -> None:
        connection.execute(sa.update(t.chunk).where(t.chunk.c.id == one).values(sealed_tokens=stored[two]))

    stored = blobs(sql)
    run(sql.database.write(swap))
    with pytest.raises(SealBroken):
        run(sql.documents.passages([one]))
