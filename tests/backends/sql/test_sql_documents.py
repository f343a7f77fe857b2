"""The contract of `Documents`: label and text from one query, lists within a scope."""

from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa
from tests.backends.sql.sql_kit import NOW, Ports, run, staged

from usher.backends import sql_tables as t
from usher.core.passages import Label
from usher.ports import Staged

ABSENT = UUID(int=1)


async def _filled(sql: Ports, count: int = 7) -> list[Staged]:
    """Documents 0, 1, … in classes 1 and 2 by turns, in the order of their ids."""
    await sql.intake.intern([frozenset({"coll:hr", "mark:pii"}), frozenset({"coll:it"})], {})
    made = [staged(f"{n}.md", title=f"Title {n}") for n in range(count)]
    for n, document in enumerate(made):
        await sql.put(document, n % 2 + 1)
    return sorted(made, key=lambda document: document.document)


def test_a_passage_comes_whole_with_its_label_in_one_query(sql: Ports) -> None:
    """Text by offsets, headings by position, and the label of now."""

    async def story() -> None:
        await sql.intake.intern([frozenset({"coll:hr"})], {})
        document = staged("a/ä.md", texts=("Grüße\n", "", "日本 🎉"))
        await sql.put(document, 1)
        ids = [chunk.id for chunk in document.chunks]
        with sql.statements() as asked:
            found = await sql.documents.passages([*ids, ABSENT])
        assert len(asked) == 1
        assert found.keys() == set(ids)
        last = found[ids[2]]
        assert (last.text, last.headings, last.position) == ("日本 🎉", ("Top", "Part 2"), 2)
        assert (last.document, last.source, last.path, last.title) == (document.document, "docs", "a/ä.md", "Title")
        assert (last.start, last.end, last.digest) == (6, 10, document.digest)
        assert last.label == Label(ids[2], 1, 1, 1, 1, False, True, False)
        assert found[ids[1]].text == ""
        assert await sql.documents.labels([*ids, ABSENT]) == {ident: found[ident].label for ident in ids}

    run(story())


def test_asking_for_no_passages_gives_none(sql: Ports) -> None:
    """An empty list is no error on either database."""

    async def story() -> None:
        await _filled(sql)
        assert await sql.documents.passages([]) == {}
        assert await sql.documents.labels([]) == {}

    run(story())


def test_a_page_lists_the_scope_only_in_the_order_of_ids(sql: Ports) -> None:
    """Paging by the last id sees each document of the scope once, and none other."""

    async def story() -> None:
        made = await _filled(sql)
        for classes, expected in (((1, 2), made), ((1,), None), ((2,), None)):
            listed: list[UUID] = []
            after = None
            while page := await sql.documents.page(classes, after, 2):
                assert len(page) <= 2
                listed += [info.id for info in page]
                after = listed[-1]
            if expected is not None:
                assert listed == [document.document for document in expected]
            assert len(listed) == {(1, 2): 7, (1,): 4, (2,): 3}[classes]
            assert listed == sorted(listed)

    run(story())


def test_what_a_document_is_listed_as(sql: Ports) -> None:
    """Its current version and its requirements."""

    async def story() -> None:
        await sql.intake.intern([frozenset({"coll:hr", "mark:pii"})], {})
        await sql.put(staged("a.md", texts=("x",)), 1)
        await sql.put(staged("a.md", version=2), 1)
        opened = await sql.documents.open(staged("a.md").document, [1])
        assert opened is not None
        info = opened.info
        assert (info.source, info.path, info.title, info.version, info.media_type) == (
            "docs",
            "a.md",
            "Title",
            2,
            "text/markdown",
        )
        assert (info.size, info.chunks, info.created_at) == (102, 2, NOW)
        assert info.requirements == ("coll:hr", "mark:pii")

    run(story())


def test_a_foreign_document_an_absent_one_and_an_empty_scope_are_the_same(sql: Ports) -> None:
    """None, from one query of the same shape."""

    async def story() -> None:
        made = await _filled(sql)
        foreign = (await sql.documents.page([2], None, 1))[0].id
        assert await sql.documents.open(foreign, [2]) is not None
        for document, classes in ((foreign, [1]), (ABSENT, [1]), (foreign, []), (made[0].document, [0])):
            with sql.statements() as asked:
                assert await sql.documents.open(document, classes) is None
            assert len(asked) == 1
        assert await sql.documents.page([], None, 10) == []

    run(story())


@pytest.mark.slow
def test_a_scope_may_have_fifty_thousand_classes(sql: Ports) -> None:
    """The widest that the store was tested with; the database is asked with all of them."""

    async def story() -> None:
        made = await _filled(sql, 3)
        assert len(await sql.documents.page(range(1, 50_001), None, 10)) == 3
        assert await sql.documents.page(range(3, 50_003), None, 10) == []
        assert await sql.documents.open(made[0].document, range(1, 50_001)) is not None

    run(story())


def test_text_and_headings_are_sealed(sql: Ports) -> None:
    """Neither stands in the database's own bytes; the title and the path do (they are metadata)."""

    async def story() -> None:
        await sql.put(staged("a.md", texts=("zanzibar surcharge",)), 1)

    run(story())
    with sql.database.engine.connect() as connection:
        for table in t.tables.sorted_tables:
            for row in connection.execute(sa.select(table)):
                assert b"zanzibar" not in b"".join(v for v in row if isinstance(v, bytes))
                assert "zanzibar" not in repr(tuple(row))
                assert "Part 0" not in repr(tuple(row))


def test_documents_are_counted_by_class(sql: Ports) -> None:
    """What is not yet in, and what is deleted, counts for none."""

    async def story() -> None:
        made = await _filled(sql)
        assert await sql.documents.per_class() == {1: 4, 2: 3}
        await sql.intake.stage([staged("later.md")], NOW)
        await sql.outbox.finish([await sql.label("delete", made[0].document, None, 0)])
        counted = await sql.documents.per_class()
        assert sum(counted.values()) == 6
        assert set(counted) == {1, 2}

    run(story())
