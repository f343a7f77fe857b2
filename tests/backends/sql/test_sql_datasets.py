"""The contract of `TrainingDocuments`: what stands, its text as it was judged, and how often it changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from tests.backends.sql.sql_kit import NOW, Ports, run, staged

from usher.backends.sql_datasets import SqlTrainingDocuments
from usher.ports.datasets import Standing


def made(sql: Ports, days: int = 0) -> SqlTrainingDocuments:
    return SqlTrainingDocuments(sql.database, sql.ring, lambda: NOW + timedelta(days=days))


async def classes(sql: Ports) -> None:
    await sql.intake.intern([frozenset({"coll:hr"}), frozenset({"coll:it"})], {})


def test_what_stands_is_listed_by_class_and_opened_as_it_stands(sql: Ports) -> None:
    """With its version, its class and since when; its text only while it stands so."""

    async def story() -> None:
        await classes(sql)
        one, other = staged("a.md"), staged("b.md")
        await sql.put(one, 1)
        await sql.put(other, 2)
        documents = made(sql)
        assert await documents.standing([1]) == {one.document: Standing(1, 1, NOW)}
        assert (await documents.standing([1, 2])).keys() == {one.document, other.document}
        assert await documents.standing([]) == {}
        found = await documents.text(one.document, Standing(1, 1, NOW))
        assert found is not None
        assert (found.text, found.title, found.standing) == ("one two", "Title", Standing(1, 1, NOW))
        for otherwise in (Standing(2, 1, NOW), Standing(1, 2, NOW)):
            assert await documents.text(one.document, otherwise) is None
        assert await documents.text(UUID(int=1), Standing(1, 1, NOW)) is None

    run(story())


@pytest.mark.parametrize("kind", ["label", "delete", "put"])
def test_what_is_changing_is_nobodys(sql: Ports, kind: str) -> None:
    """From the moment that a change is pending; and once it is in force, until the store has it."""

    async def story() -> None:
        await classes(sql)
        one = staged("a.md")
        await sql.put(one, 1)
        documents, standing = made(sql), Standing(1, 1, NOW)
        newer = staged("a.md", 2)
        await sql.intake.stage([newer] if kind == "put" else [], NOW)
        version = {"put": 2, "label": 1, "delete": None}[kind]
        change = await sql.label(kind, one.document, version, 2)
        assert await documents.standing([1, 2]) == {}
        assert await documents.text(one.document, standing) is None
        await sql.outbox.finish([change])
        assert await documents.standing([1, 2]) == {}
        await sql.intake.carried([one.document])
        left = await documents.standing([1, 2])
        assert left == ({} if version is None else {one.document: Standing(version, 2, NOW)})
        assert await documents.text(one.document, standing) is None

    run(story())


def test_a_plan_knows_tokens_and_changes(sql: Ports) -> None:
    """Tokens by its characters; new files a month, over at least one. The same file made anew is no change."""

    async def story() -> None:
        await classes(sql)
        first = staged("a.md", texts=("x" * 39, "y"))
        await sql.put(first, 1)
        again = replace(staged("a.md", 2, ("x" * 39, "y")), digest=first.digest)
        await sql.put(again, 1)
        for version in (3, 4):
            await sql.put(staged("a.md", version, ("x" * 39, "y")), 1)
        await sql.put(staged("b.md", texts=()), 2)
        found = {one.access_class: one for one in await made(sql).sources()}
        assert (found[1].document, found[1].tokens, found[1].changes) == (first.document, 10, 2.0)
        assert (found[2].tokens, found[2].changes) == (0, 0.0)
        later = {one.access_class: one for one in await made(sql, days=60).sources()}
        assert later[1].changes == pytest.approx(1.0)

    run(story())
