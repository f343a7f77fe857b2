"""The second ranking of a search: after the second look, never before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from uuid import UUID

import pytest
from tests.web.world import World, world

from usher.backends.memory import MemoryStore
from usher.core import late
from usher.core.fusion import Ranked
from usher.core.late import TokenVectors
from usher.ports import Found, SparseVector, Vector


class Ajar(MemoryStore):
    """A store that minds no access class: what it returns must be caught by the second look."""

    async def search(self, classes: Sequence[int], dense: Vector, sparse: SparseVector, k: int) -> Found:
        return await super().search(range(1, 10), dense, sparse, k)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world"), store=Ajar()) as opened:
        yield opened


def test_no_passage_is_ranked_again_before_its_label_is_judged(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only passages that the person may read reach the ranking by tokens, whatever the store returned."""
    ranked = set[UUID]()
    rerank = late.rerank

    def noted(
        hits: Iterable[Ranked], question: TokenVectors, chunks: Mapping[UUID, TokenVectors | None]
    ) -> tuple[Ranked, ...]:
        best = rerank(hits, question, chunks)
        ranked.update(chunks, (hit.chunk for hit in best))
        return best

    monkeypatch.setattr(late, "rerank", noted)
    hits = made.search("What is the travel budget of the whole company?").json()["hits"]
    assert hits
    assert ranked == {UUID(hit["chunk"]) for hit in hits}
    assert all(hit["path"].startswith("handbook/") for hit in hits)
    assert made.newest()[-1]["leaks"]


def test_a_shorter_search_is_the_beginning_of_a_longer_one(made: World) -> None:
    """Equal questions of equal people have equal rankings, best first, wherever they are cut."""
    ten, one, again = (made.search("How much may a hotel cost?", k=k).json()["hits"] for k in (10, 1, 10))
    assert ten == again
    assert ten[:1] == one
    assert ten[0]["path"] == "handbook/hotels.md"
    assert [hit["score"] for hit in ten] == sorted((hit["score"] for hit in ten), reverse=True)
    assert ten[0]["score"] > 1
