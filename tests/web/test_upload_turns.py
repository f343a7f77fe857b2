"""Changes of documents beside one another, beside a run of ingest, and where a part fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
from tests.web.chat_kit import FailingLog
from tests.web.upload_kit import PATH, TEXT, added, during, found, listed, put, shelves, state
from tests.web.world import OPERATOR, World

from usher import uploads
from usher.errors import UserError
from usher.ingest import UPLOADS, IngestOptions
from usher.ports import StoreBatch, StoreUnavailable


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with shelves(tmp_path_factory.mktemp("turns")) as made:
        yield made


def name() -> str:
    return f"{uuid4()}.md"


def during_conversion(usher: World, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Do something while a file is converted, each time; what it gave is in the list."""
    return during(usher.services.ingest.take_in._converter, "convert", monkeypatch, act)


def test_a_document_can_be_deleted_while_its_next_version_is_converted(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deletion does not wait; the upload does not bring the document back."""
    path = name()
    document = added(usher, "bob", TEXT, path)
    deleted = during_conversion(usher, monkeypatch, lambda: usher.asked("DELETE", f"{PATH}/{document}", "alice"))
    answer = put(usher, "bob", "# Ocelot\n\nocelot\n", path)
    assert deleted[0].status_code == 200
    assert (answer.status_code, answer.json()["field"]) == (409, "document")
    monkeypatch.undo()
    assert document not in listed(usher, "bob")
    assert not found(usher, "bob", "ocelot")


def test_a_document_can_be_moved_while_its_next_version_is_converted(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move holds: the new text does not come into the old collection, and to bob the document is gone."""
    document = added(usher, "bob", TEXT, name())
    form = {"collection": (None, "finance"), "document": (None, document)}
    moved = during_conversion(usher, monkeypatch, lambda: usher.asked("POST", PATH, "alice", files=form))
    answer = put(usher, "bob", "# Ocelot\n\nocelot\n", document=document)
    assert moved[0].json()["outcome"] == "moved"
    assert answer.status_code == 404
    monkeypatch.undo()
    assert usher.ask("GET", f"{PATH}/{document}", "alice").json()["requirements"] == ["coll:finance"]
    assert not found(usher, "alice", "ocelot")


def test_a_text_that_was_replaced_meanwhile_is_not_replaced_unseen(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder's next ingest came between: 409, and the folder's text stays."""
    hotels = next(one for one, path in listed(usher, "bob").items() if path == "handbook/hotels.md")
    texts = {"handbook/hotels.md": "# Hotels\n\nA hotel may cost 99 euros.\n"}
    took: list[int] = []

    async def once() -> None:
        if not took:
            took.append(1)
            await usher.ingest(texts)

    during_conversion(usher, monkeypatch, once)
    answer = put(usher, "bob", "# Hotels\n\nocelot\n", document=hotels)
    assert (answer.status_code, answer.json()["field"]) == (409, "document")
    monkeypatch.undo()
    assert "99 euros" in usher.ask("GET", f"{PATH}/{hotels}").json()["text"]


def test_while_others_change_documents_one_is_told_when_to_come_back(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """409 with `retry-after`, for an upload and a deletion; whoever may not is told so without waiting."""
    monkeypatch.setattr(uploads, "PATIENCE", 0.01)
    document = added(usher, "bob", TEXT, name())
    before = state(usher)
    usher.run(usher.services.ingest.turn.here.acquire())
    answers = [put(usher, "bob"), put(usher, "bob", document=document), usher.ask("DELETE", f"{PATH}/{document}")]
    denied = [put(usher, "bob", collection="finance"), usher.ask("DELETE", f"{PATH}/{uuid4()}")]
    usher.services.ingest.turn.here.release()
    assert [answer.status_code for answer in denied] == [403, 404]
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [(409, "10")] * 3
    assert state(usher) == before


def _more(usher: World, **more: Any) -> Coroutine[Any, Any, list[dict[str, Any]]]:
    """A run of ingest over another folder."""
    (usher.folder / "more").mkdir(exist_ok=True)
    (usher.folder / "more" / "kudu.md").write_text("# Kudu\n\nkudu zero\n")
    options = IngestOptions(usher.folder / "more", **{"source": "more", "collection": "handbook", **more})

    async def run() -> list[dict[str, Any]]:
        return [event async for event in usher.services.ingest.run(options, OPERATOR)]

    return run()


def test_files_are_converted_one_after_another(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are sent at once: all of them are in, in the end."""
    at_once: list[int] = [0, 0]

    async def slowly() -> None:
        at_once[0] += 1
        at_once[1] = max(at_once)
        await asyncio.sleep(0.02)
        at_once[0] -= 1

    async def all_at_once() -> list[httpx.Response]:
        forms = [
            {"collection": (None, "handbook"), "file": (f"nyala{n}.md", f"# Nyala\n\nnyala {n}\n".encode())}
            for n in range(8)
        ]
        return await asyncio.gather(*(usher.asked("POST", PATH, "bob", files=form) for form in forms))

    during_conversion(usher, monkeypatch, slowly)
    assert {answer.status_code for answer in usher.run(all_at_once())} == {201}
    assert len(found(usher, "bob", "nyala")) == 8
    assert at_once == [0, 1]


def test_a_run_of_ingest_waits_for_a_change_that_is_being_made(usher: World) -> None:
    """It does nothing before, and all of its work after."""
    before = state(usher)

    async def story() -> dict[str, Any]:
        async with usher.services.ingest.turn:
            running = asyncio.create_task(_more(usher))
            await asyncio.sleep(0.05)
            assert state(usher) == before
        return (await running)[-1]

    assert usher.run(story())["added"] == 1


def test_an_upload_that_cannot_be_recorded_is_nobodys_until_it_is(usher: World) -> None:
    """503; once it is recorded it is there whole."""
    log = usher.services.audit.review._log
    assert isinstance(log, FailingLog)
    log.full = True
    with structlog.testing.capture_logs():
        assert put(usher, "bob", "# Tapir\n\ntapir\n", name()).status_code == 503
    log.full = False
    assert not found(usher, "bob", "tapir")
    added(usher, "bob", TEXT, name())
    assert len(found(usher, "bob", "tapir")) == 1


def test_what_a_failed_upload_staged_is_forgotten_by_the_next_change(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store did not answer: 503, and neither row nor point stays."""
    document = added(usher, "bob", TEXT, name())
    before = state(usher)
    store = usher.services.retrieve._store
    write = store.write

    async def done_and_lost(batch: StoreBatch) -> None:
        await write(batch)
        raise StoreUnavailable

    monkeypatch.setattr(store, "write", done_and_lost)
    with structlog.testing.capture_logs():
        assert put(usher, "bob", "# Saiga\n\nsaiga\n", document=document).status_code == 503
    monkeypatch.undo()
    assert state(usher) != before
    assert put(usher, "bob", TEXT, document=document).json()["outcome"] == "unchanged"
    assert state(usher) == before


def test_no_run_of_ingest_may_have_the_uploads_name(usher: World) -> None:
    """It would take everything out that is not in its folder."""
    before = state(usher)
    with pytest.raises(UserError) as refusal:
        usher.run(_more(usher, source=UPLOADS, sync=True))
    assert refusal.value.field == "source"
    assert state(usher) == before
