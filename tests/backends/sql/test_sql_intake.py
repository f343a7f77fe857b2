"""The contract of `Intake`: staging, labels beside labels, and what the store must still be told."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from tests.backends.sql.sql_kit import LATER, NOW, Ports, run, staged

from usher.backends import sql_tables as t
from usher.core.passages import Label
from usher.ports import Shelved, SourceState, Uncarried


async def _label(sql: Ports, path: str = "a.md", version: int = 1) -> Label:
    chunk = staged(path, version).chunks[0].id
    return (await sql.documents.labels([chunk]))[chunk]


def test_a_source_remembers_what_its_last_run_was_given(sql: Ports) -> None:
    """Each run replaces what the one before left."""

    async def story() -> None:
        assert await sql.intake.source("docs") is None
        await sql.intake.remember_source("docs", SourceState(True, False), NOW)
        await sql.intake.remember_source("other", SourceState(False, False), NOW)
        assert await sql.intake.source("docs") == SourceState(True, False)
        await sql.intake.remember_source("docs", SourceState(True, True), LATER)
        assert await sql.intake.source("docs") == SourceState(True, True)
        assert await sql.intake.source("other") == SourceState(False, False)

    run(story())


def test_equal_sets_share_a_class_and_classes_count_from_one(sql: Ports) -> None:
    """Class 0 is never given: it is in nobody's scope."""

    async def story() -> None:
        a, b, c = (frozenset({"coll:a"}), frozenset({"coll:b", "mark:x"}), frozenset({"coll:c"}))
        assert await sql.intake.intern([a, b, a], {}) == [1, 2, 1]
        assert await sql.intake.intern([c, b], {}) == [3, 2]
        assert await sql.intake.intern([], {}) == []

    run(story())


def test_a_staged_version_is_nobodys(sql: Ports) -> None:
    """It has no current version and class 0, whatever the scope."""

    async def story() -> None:
        await sql.intake.intern([frozenset({"coll:a"})], {})
        await sql.intake.stage([staged("a.md")], NOW)
        label = await _label(sql)
        assert (label.version, label.access_class, label.label_version, label.pending) == (None, 0, 0, False)
        assert await sql.documents.page([0, 1], None, 10) == []
        assert await sql.intake.uncarried() == []

    run(story())


def test_a_put_is_hidden_until_finished_and_uncarried_until_noted(sql: Ports) -> None:
    """Each label in force has a label version of its own, one above the last."""

    async def story() -> None:
        await sql.intake.intern([frozenset({"coll:a"})], {})
        document = staged("a.md")
        await sql.intake.stage([document], NOW)
        change = await sql.label("put", document.document, 1, 1)
        assert change.kind == "document"
        assert change.payload["op"] == "put"
        assert (await _label(sql)).pending
        assert await sql.documents.page([1], None, 10) == []
        assert await sql.intake.uncarried() == []
        await sql.outbox.finish([change])
        label = await _label(sql)
        assert (label.version, label.access_class, label.label_version, label.pending, label.carried) == (
            1,
            1,
            1,
            False,
            False,
        )
        assert len(await sql.documents.page([1], None, 10)) == 1
        ids = tuple(chunk.id for chunk in document.chunks)
        assert await sql.intake.uncarried() == [Uncarried(document.document, 1, ids, ())]
        await sql.intake.carried([document.document])
        assert (await _label(sql)).carried
        assert await sql.intake.uncarried() == []

    run(story())


def test_a_new_version_replaces_the_old_ones_chunks(sql: Ports) -> None:
    """Until it is finished the old one is current, and hidden; afterwards its chunks are to be deleted."""

    async def story() -> None:
        await sql.put(staged("a.md"), 1)
        new = staged("a.md", 2, ("three",))
        await sql.intake.stage([new], NOW)
        assert not (await _label(sql)).pending
        change = await sql.label("put", new.document, 2, 3)
        old = await _label(sql)
        assert (old.version, old.access_class, old.pending) == (1, 1, True)
        await sql.outbox.finish([change])
        assert ((await _label(sql)).chunk_version, (await _label(sql)).version) == (1, 2)
        gone = tuple(chunk.id for chunk in staged("a.md").chunks)
        assert await sql.intake.uncarried() == [Uncarried(new.document, 3, (new.chunks[0].id,), gone)]

    run(story())


def test_a_label_moves_the_same_version(sql: Ports) -> None:
    """Hidden while pending; then in the new class under a newer label version."""

    async def story() -> None:
        await sql.put(staged("a.md"), 1)
        change = await sql.label("label", staged("a.md").document, 1, 2)
        assert change.kind == "label"
        assert ((await _label(sql)).access_class, (await _label(sql)).pending) == (1, True)
        await sql.outbox.finish([change])
        label = await _label(sql)
        assert (label.access_class, label.label_version, label.pending, label.carried) == (2, 2, False, False)

    run(story())


def test_a_delete_keeps_the_last_class(sql: Ports) -> None:
    """What it showed is judged by that class for ever; its chunks are all to be deleted."""

    async def story() -> None:
        await sql.put(staged("a.md"), 5)
        change = await sql.label("delete", staged("a.md").document, 1, 5)
        assert (await _label(sql)).pending
        assert not (await _label(sql)).deleted
        await sql.outbox.finish([change])
        label = await _label(sql)
        assert (label.deleted, label.access_class, label.version, label.label_version) == (True, 5, 1, 2)
        ids = tuple(chunk.id for chunk in staged("a.md").chunks)
        assert await sql.intake.uncarried() == [Uncarried(staged("a.md").document, 5, (), ids)]
        await sql.put(staged("a.md", 2), 5)
        assert not (await _label(sql)).deleted

    run(story())


@pytest.mark.parametrize("late", [True, False])
def test_a_label_that_another_replaced_never_comes_into_force(sql: Ports, late: bool) -> None:
    """Finishing the one that was overtaken, before or after the newer, changes nothing."""

    async def story() -> None:
        await sql.put(staged("a.md"), 1)
        await sql.intake.stage([staged("a.md", 2)], NOW)
        wide = await sql.label("put", staged("a.md").document, 2, 7)
        await sql.intake.stage([staged("a.md", 3)], NOW)
        narrow = await sql.label("put", staged("a.md").document, 3, 8)
        assert [change.id for change in await sql.outbox.pending()] == [narrow.id]
        await sql.outbox.finish([wide])
        assert (await _label(sql)).pending
        await sql.outbox.finish([narrow, wide] if late else [wide, narrow])
        label = await _label(sql)
        assert (label.version, label.access_class, label.label_version) == (3, 8, 2)

    run(story())


def test_the_shelf_shows_each_document_of_the_source(sql: Ports) -> None:
    """Current, staged only, deleted; the highest version number ever given tells the next one."""

    async def story() -> None:
        await sql.put(staged("current.md"), 4)
        await sql.intake.stage([staged("current.md", 2)], NOW)
        await sql.intake.stage([staged("staged.md")], NOW)
        await sql.put(staged("gone.md", texts=()), 5)
        await sql.outbox.finish([await sql.label("delete", staged("gone.md").document, 1, 5)])
        await sql.put(staged("current.md", source="other"), 4)
        shelf = await sql.intake.shelf("docs")
        digest = f"{1:064x}"
        assert shelf == {
            "current.md": Shelved(staged("current.md").document, 1, 2, digest, "1:test", 4, 2, False),
            "staged.md": Shelved(staged("staged.md").document, None, 1, None, None, 0, 0, False),
            "gone.md": Shelved(staged("gone.md").document, 1, 1, digest, "1:test", 5, 0, True),
        }
        assert await sql.intake.shelf("nowhere") == {}

    run(story())


def test_leftovers_are_the_staged_versions_that_no_change_names(sql: Ports) -> None:
    """Forgetting them leaves what is current, what is pending and what is deleted."""

    async def story() -> None:
        await sql.put(staged("kept.md"), 1)
        await sql.intake.stage([staged("kept.md", 2, ("x",)), staged("new.md", 1, ("y",))], NOW)
        await sql.intake.stage([staged("pending.md"), staged("empty.md", 1, ())], NOW)
        await sql.label("put", staged("pending.md").document, 1, 1)
        left = {staged("kept.md", 2).chunks[0].id, staged("new.md").chunks[0].id}
        assert set(await sql.intake.leftovers()) == left
        await sql.intake.discard()
        assert await sql.intake.leftovers() == []
        shelf = await sql.intake.shelf("docs")
        assert {path: (old.version, old.last_version) for path, old in shelf.items()} == {
            "kept.md": (1, 1),
            "pending.md": (None, 1),
        }
        assert len(await sql.documents.labels([chunk.id for chunk in staged("kept.md").chunks])) == 2
        await sql.outbox.finish(await sql.outbox.pending())
        assert (await _label(sql, "pending.md")).version == 1

    run(story())


def test_a_failed_stage_leaves_nothing(sql: Ports) -> None:
    """All of a batch or none of it."""

    async def story() -> None:
        await sql.put(staged("a.md"), 1)
        with pytest.raises(sa.exc.IntegrityError):
            await sql.intake.stage([staged("b.md"), staged("a.md")], NOW)
        assert (await sql.intake.shelf("docs")).keys() == {"a.md"}

    run(story())


def test_names_as_long_as_a_file_system_gives_are_kept(sql: Ports) -> None:
    """A path of two thousand wide characters, a source of five hundred."""

    async def story() -> None:
        wide = "".join(chr(0x1F300 + n % 700) for n in range(1996)) + ".md"
        source = "".join(chr(0x4E00 + n * 37 % 20000) for n in range(500))
        await sql.put(staged(wide, source=source), 1)
        await sql.intake.remember_source(source, SourceState(True, True), NOW)
        assert (await sql.intake.shelf(source)).keys() == {wide}

    run(story())


def test_a_title_that_a_database_cannot_keep_does_not_stop_an_ingest(sql: Ports) -> None:
    """A NUL in a heading is left out of the title; the text keeps it."""

    async def story() -> None:
        await sql.put(staged("a.md", texts=("word\0word",), title="Ti\0tle"), 1)
        chunk = staged("a.md").chunks[0].id
        passage = (await sql.documents.passages([chunk]))[chunk]
        assert (passage.title, passage.text) == ("Title", "word\0word")

    run(story())


def test_what_the_store_must_be_told_is_found_by_an_index(sql: Ports) -> None:
    """It is asked after each batch: a look at every document would make ingest quadratic."""
    waiting = sa.select(t.document).where(sa.not_(t.document.c.carried), t.document.c.pending.is_(None))
    text = str(waiting.compile(sql.database.engine, compile_kwargs={"literal_binds": True}))
    with sql.database.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SET enable_seqscan = off"))
            plan = connection.execute(sa.text(f"EXPLAIN {text}"))
        else:
            plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {text}"))
        assert "document_uncarried" in repr(plan.all())
