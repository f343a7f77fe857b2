"""Who loses a document loses it before anything is embedded, also where its text changes in the same run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.ingest.faults import Killed
from tests.ingest.ingest_kit import House, Rooms, Seen

from usher.ports import Encoded

BOTH, ANN, BOB, EVE = ["user:ann", "user:bob"], ["user:ann"], ["user:bob"], ["user:eve"]


class Watching:
    """An embedder that looks at what each person sees whenever it is called."""

    def __init__(self, house: House, embedder: Any) -> None:
        self.house, self.embedder = house, embedder
        self.precision, self.model = embedder.precision, embedder.model
        self.count_tokens = embedder.count_tokens
        self.rooms: Rooms | None = None
        self.seen: list[Seen] = []
        self.dies = False

    async def encode(self, texts: Sequence[str]) -> list[Encoded]:
        if self.rooms is not None:
            self.seen.append(await self.rooms.seen(self.house.keys))
        if self.dies:
            raise Killed("encode")
        encoded: list[Encoded] = await self.embedder.encode(texts)
        return encoded


def _second_run(house: House, dies: bool = False, **options: Any) -> list[Seen]:
    """What was seen at each embedding of the run."""
    watching: list[Watching] = []

    def wrap(name: str, port: Any) -> Any:
        if name != "embedder":
            return port
        watching.append(Watching(house, port))
        return watching[0]

    async def story(rooms: Rooms) -> None:
        watching[0].rooms, watching[0].dies = rooms, dies
        await rooms.take_in(house.docs, source="docs", **options)

    if dies:
        with pytest.raises(Killed):
            house.using(story, wrap=wrap)
    else:
        house.using(story, wrap=wrap)
    return watching[0].seen


def _changed(house: House, count: int, before: list[str], after: list[str]) -> Any:
    """Documents whose texts and readers have changed since they went in, and one whose readers alone have."""
    names = [f"{n}.md" for n in range(count)]
    for name in (*names, "z.md"):
        house.write(name, f"word secret {name}")
    house.take_in(acl=house.acl(dict.fromkeys((*names, "z.md"), before)))
    for name in names:
        house.write(name, f"word published {name}")
    return house.acl(dict.fromkeys((*names, "z.md"), after))


@pytest.mark.slow
def test_narrowing_waits_for_no_embedding_though_the_text_changes_too(house: House) -> None:
    """At the first embedding bob has lost all of them, ann has still the old text."""
    seen = _second_run(house, acl=_changed(house, 8, BOTH, ANN))
    assert len(seen) == 8
    assert all(look["bob"] == {} for look in seen)
    assert seen[0]["ann"]["docs/0.md"] == {"word secret 0.md"}
    assert house.seen()["ann"]["docs/0.md"] == {"word published 0.md"}
    house.check_whole()


@pytest.mark.slow
@pytest.mark.parametrize("after", [BOTH, EVE])
def test_the_old_text_never_reaches_the_new_readers(house: House, after: list[str]) -> None:
    """A text that was made fit to be published is not published in its old form."""
    seen = _second_run(house, acl=_changed(house, 2, BOB, after))
    texts = [text for look in seen for user in ("ann", "eve") for t in look[user].values() for text in t]
    assert not [text for text in texts if "secret" in text and "z.md" not in text]
    assert house.seen()[after[0].removeprefix("user:")]["docs/0.md"] == {"word published 0.md"}
    house.check_whole()


@pytest.mark.slow
def test_a_run_that_dies_at_its_first_embedding_has_taken_access_away(house: House) -> None:
    """And the next run completes it."""
    acl = _changed(house, 3, BOTH, ANN)
    _second_run(house, dies=True, acl=acl)
    assert house.seen()["bob"] == {}
    house.take_in(acl=acl)
    assert house.seen()["ann"].keys() == {"docs/0.md", "docs/1.md", "docs/2.md", "docs/z.md"}
    assert house.seen()["bob"] == {}
    house.check_whole()
