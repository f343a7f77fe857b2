"""The contract of `Documents.open`: a text in the scope, at the version of a passage, from one query."""

from __future__ import annotations

from uuid import UUID

from tests.backends.sql.sql_kit import NOW, Ports, run, staged

from usher.ports import LabelChange, Opened

A, B, C = 1, 2, 3


async def _classes(sql: Ports) -> None:
    names = ("coll:a", "coll:b", "coll:c")
    assert await sql.intake.intern([frozenset({name}) for name in names], {}) == [A, B, C]


def _document(path: str = "a.md") -> UUID:
    return staged(path).document


def _chunk(version: int, path: str = "a.md") -> UUID:
    return staged(path, version).chunks[0].id


async def _change(sql: Ports, kind: str, version: int, access_class: int) -> None:
    await sql.outbox.finish([await sql.label(kind, _document(), version, access_class)])


def _version(opened: Opened | None) -> tuple[int, int] | None:
    return None if opened is None else (opened.info.version, opened.current_version)


def test_a_passage_leads_to_its_version_and_its_place(sql: Ports) -> None:
    """Its characters in that version's text; without it, the current text."""

    async def story() -> None:
        await _classes(sql)
        await sql.put(staged("a.md", texts=("first text", "second text")), A)
        await sql.put(staged("a.md", version=2, texts=("third text",)), A)
        for position, words in enumerate(("first text", "second text")):
            chunk = staged("a.md", texts=("first text", "second text")).chunks[position].id
            opened = await sql.documents.open(_document(), [A], chunk)
            assert opened is not None
            assert _version(opened) == (1, 2)
            assert opened.passage is not None
            assert opened.text[slice(*opened.passage)] == words
        opened = await sql.documents.open(_document(), [A])
        assert opened is not None
        assert (_version(opened), opened.passage) == ((2, 2), None)
        assert "third text" in opened.text

    run(story())


def test_an_earlier_version_needs_the_class_that_it_had_and_the_one_of_now(sql: Ports) -> None:
    """The class in force when another took its place, whatever labels there were before that."""

    async def story() -> None:
        await _classes(sql)
        await sql.put(staged("a.md"), C)
        await _change(sql, "label", 1, A)
        await sql.put(staged("a.md", version=2), B)
        await sql.put(staged("a.md", version=3), C)
        for version, classes in ((1, [A, C]), (2, [B, C]), (3, [C])):
            for scope in ([A], [B], [C], [A, B], [A, C], [B, C], [A, B, C], []):
                seen = _version(await sql.documents.open(_document(), scope, _chunk(version)))
                assert seen == ((version, 3) if set(classes) <= set(scope) else None)

    run(story())


def test_a_deleted_documents_versions_are_nobodys_also_when_it_comes_back(sql: Ports) -> None:
    """Under the same id, with a new version."""

    async def story() -> None:
        await _classes(sql)
        await sql.put(staged("a.md"), A)
        await sql.put(staged("a.md", version=2), A)
        await _change(sql, "delete", 2, A)
        for chunk in (None, _chunk(1), _chunk(2)):
            assert await sql.documents.open(_document(), [A, B, C], chunk) is None
        await sql.put(staged("a.md", version=3), A)
        for chunk in (_chunk(1), _chunk(2)):
            assert await sql.documents.open(_document(), [A, B, C], chunk) is None
        assert _version(await sql.documents.open(_document(), [A], _chunk(3))) == (3, 3)

    run(story())


def test_a_version_that_is_not_yet_in_is_nobodys(sql: Ports) -> None:
    """Staged, though no change of it is pending; nor while one is."""

    async def story() -> None:
        await _classes(sql)
        await sql.put(staged("a.md"), A)
        await sql.intake.stage([staged("a.md", version=2)], NOW)
        assert await sql.documents.open(_document(), [0, A], _chunk(2)) is None
        assert _version(await sql.documents.open(_document(), [A], _chunk(1))) == (1, 1)
        change = await sql.label("put", _document(), 2, A)
        for chunk in (None, _chunk(1), _chunk(2)):
            assert await sql.documents.open(_document(), [A], chunk) is None
        await sql.outbox.finish([change])
        assert _version(await sql.documents.open(_document(), [A], _chunk(1))) == (1, 2)

    run(story())


def test_a_passage_of_another_document_opens_none(sql: Ports) -> None:
    """From one query, as for a document that is foreign or absent."""

    async def story() -> None:
        await _classes(sql)
        await sql.put(staged("a.md"), A)
        await sql.put(staged("b.md"), A)
        tries = ((_document(), _chunk(1, "b.md")), (_document(), UUID(int=1)), (UUID(int=1), _chunk(1)))
        for document, chunk in tries:
            with sql.statements() as asked:
                assert await sql.documents.open(document, [A], chunk) is None
            assert len(asked) == 1

    run(story())


def test_where_a_document_is_placed(sql: Ports) -> None:
    """Found by id, and by source and path, whoever asks; not while it is only staged, nor once it is deleted."""

    async def story() -> None:
        await _classes(sql)
        await sql.intake.stage([staged("a.md")], NOW)
        assert (await sql.intake.placed(_document()), await sql.intake.placed_at("docs", "a.md")) == (None, [])
        await _change(sql, "put", 1, B)
        placed = await sql.intake.placed(_document())
        assert placed is not None
        assert (placed.source, placed.path, placed.requirements, placed.pending) == (
            "docs",
            "a.md",
            frozenset({"coll:b"}),
            False,
        )
        assert placed.shelved == (await sql.intake.shelf("docs"))["a.md"]
        assert await sql.intake.placed_at("docs", "a.md") == [placed]
        assert await sql.intake.placed_at("docs", "b.md") == await sql.intake.placed_at("x", "a.md") == []
        change = await sql.label("delete", _document(), 1, B)
        moving = await sql.intake.placed(_document())
        assert moving is not None
        assert moving.pending
        await sql.outbox.finish([change])
        assert (await sql.intake.placed(_document()), await sql.intake.placed_at("docs", "a.md")) == (None, [])

    run(story())


def test_a_change_carries_the_reasons_of_who_made_it(sql: Ports) -> None:
    """They cannot take the place of what the change is."""

    async def story() -> None:
        await _classes(sql)
        await sql.intake.stage([staged("a.md")], NOW)
        why = {"rules": ["r1"], "op": "delete", "by": "somebody"}
        [change] = await sql.intake.begin([LabelChange("put", _document(), 1, A, why)], "person:p", NOW)
        assert change.payload == {
            "rules": ["r1"],
            "op": "put",
            "document": str(_document()),
            "version": 1,
            "access_class": A,
            "by": "person:p",
        }

    run(story())
