"""Passages of large documents take the memory of one document at a time."""

from __future__ import annotations

import tracemalloc

import pytest
from tests.backends.sql.sql_kit import Ports, run, staged

MIB = 1 << 20
SIZE, COUNT = 2 * MIB, 10


@pytest.mark.slow
def test_each_text_is_let_go_before_the_next_is_opened(sql: Ports) -> None:
    """However many documents a search finds, and however large they are."""

    async def story() -> None:
        await sql.intake.intern([frozenset({"coll:hr"})], {})
        made = [staged(f"{n}.md", texts=("one ", "x" * SIZE)) for n in range(COUNT)]
        for document in made:
            await sql.put(document, 1)
        asked = [document.chunks[0].id for document in made]
        await sql.documents.passages(asked[:1])
        tracemalloc.start()
        try:
            found = await sql.documents.passages(asked)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert [found[ident].text for ident in asked] == ["one "] * COUNT
        assert peak < COUNT * SIZE / 2

    run(story())
