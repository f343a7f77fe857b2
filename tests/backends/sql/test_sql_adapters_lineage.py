"""What of a lineage the metadata database knows."""

from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa
from tests.backends.sql.adapter_rows import LINE, ONE, TWO, Shelf, learned, made, outbox
from tests.backends.sql.sql_kit import NOW, Ports, run, staged

from usher.backends.sql_adapter_tables import adapter_document
from usher_lora.lineage import Lineage, lineage


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (lineage([learned(UUID(int=99))]), "not there"),
        (lineage([learned(version=2)]), "not there"),
        (lineage([learned(access_class=9)]), "is none"),
    ],
    ids=["document", "version", "access class"],
)
def test_what_of_a_lineage_is_unknown_is_told(sql: Ports, line: Lineage, word: str) -> None:
    """Documents, versions and access classes."""

    async def story() -> None:
        shelf = await Shelf(sql).filled()
        assert await shelf.store.unknown(LINE) == []
        found = await shelf.store.unknown(line)
        assert len(found) == 1
        assert word in found[0]

    run(story())


def test_what_is_deleted_or_about_to_be_is_unknown(sql: Ports) -> None:
    """Nothing is registered that learned it, nor what is not in yet; an earlier version of what is there is known."""

    async def story() -> None:
        shelf = await Shelf(sql).filled()
        await sql.put(staged("b.md", 2), 2)
        assert await shelf.store.unknown(lineage([learned(TWO.document), learned(TWO.document, 2)])) == []
        await sql.intake.stage([staged("a.md", 2)], NOW)
        assert len(await shelf.store.unknown(lineage([learned(version=2)]))) == 1
        change = await sql.label("delete", ONE.document, 1, 1)
        assert len(await shelf.store.unknown(LINE)) == 1
        await outbox(sql).finish([change])
        assert len(await shelf.store.unknown(LINE)) == 1

    run(story())


def test_a_long_lineage_is_kept_and_looked_through(sql: Ports) -> None:
    """Thousands of documents, of which ten that are unknown are told."""

    async def story() -> None:
        shelf = await Shelf(sql).filled()
        line = lineage(learned(UUID(int=n)) for n in range(1, 2_501))
        one = await shelf.registered(made(line), line)
        assert await shelf.store.lineage(one.id) == line
        assert len(await shelf.store.unknown(line)) == 10
        count = sa.select(sa.func.count()).select_from(adapter_document)
        rows = await sql.database.read(lambda connection: connection.execute(count).scalar_one())
        assert rows == 2_500

    run(story())
