"""What is sent to `POST /api/documents`: sizes, names, kinds and forms, and what goes on beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
from tests.web.chat_kit import FailingLog
from tests.web.upload_kit import PATH, TEXT, added, found, listed, put, shelves, state, told
from tests.web.world import OPERATOR, World

from usher import uploads
from usher.backends.convert import ChildConverter
from usher.errors import UserError
from usher.ingest import UPLOADS, IngestOptions
from usher.ports import StoreBatch, StoreUnavailable
from usher.web.uploads import OVERHEAD

LIMIT = 100_000
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world that takes small files only, and converts them as a server does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USHER_MAX_FILE_SIZE", str(LIMIT))
        with shelves(tmp_path_factory.mktemp("files")) as made:
            take_in: Any = made.services.ingest.take_in
            take_in._converter = ChildConverter()
            yield made


def name(suffix: str = ".md") -> str:
    return f"{uuid4()}{suffix}"


def refused(usher: World, answer: httpx.Response, before: tuple[Any, ...]) -> tuple[int, str | None]:
    """Status and field of a refusal that left nothing behind, and says what to do."""
    assert state(usher) == before
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, body.get("field")


def _part(head: str, content: bytes = b"x") -> bytes:
    return f"--b\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"


FORM = _part('name="collection"', b"handbook")
FILE = _part('name="file"; filename="x.md"')
END = b"--b--\r\n"


def send(usher: World, form: bytes) -> httpx.Response:
    """A form as it is."""
    return usher.ask("POST", PATH, content=form, headers={"content-type": "multipart/form-data; boundary=b"})


def test_a_file_over_the_limit_is_413(usher: World) -> None:
    """Whether the file or the body as a whole shows it; at the limit it is taken. Other routes keep their own limit."""
    before = state(usher)
    assert refused(usher, put(usher, "bob", "x " * (LIMIT // 2 + 1), name()), before) == (413, "file")
    assert refused(usher, put(usher, "bob", "x" * (LIMIT + OVERHEAD), name()), before) == (413, None)
    form = put(usher, "bob", TEXT, name(), collection="x" * MIB)
    assert refused(usher, form, before) == (413, None)
    assert put(usher, "bob", ("word " * 19 + "\n\n" * 3) * (LIMIT // 101), name()).status_code == 201
    assert usher.ask("POST", "/api/search", json={"q": "x" * (LIMIT + OVERHEAD)}).status_code == 400


HOSTILE = {
    "up": "../x.md",
    "up inside": "a/../../x.md",
    "absolute": "/etc/passwd.md",
    "Windows": "x\\..\\y.md",
    "a dot": "./x.md",
    "an empty part": "a//x.md",
    "spaces": "a/ /x.md",
    "NUL": "x\0.md",
    "a new line": "x\ny.md",
    "an override": "x\u202edm.exe.md",
    "an invisible character": "x\u200b.md",
    "5,000 characters": "x" * 5000 + ".md",
    "1,001 characters": "x" * 998 + ".md",
}


@pytest.mark.parametrize("path", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_path_is_400(usher: World, path: str) -> None:
    """As a field, and as the file's name."""
    before = state(usher)
    assert refused(usher, put(usher, "bob", path=path), before) == (400, "path")
    status, field = refused(usher, send(usher, FORM + _part(f'name="file"; filename="{path}"') + END), before)
    assert (status, field) in ((400, "path"), (400, None))


def test_any_plain_path_is_taken_as_it_is(usher: World) -> None:
    """In its composed form; quotes, markup and SQL are only letters."""
    for path in ("a/b c/Übersicht (1).md", "'; DROP TABLE document; --.md", "<img src=x>.md", "%2e%2e/x.md", ".env.md"):
        document = added(usher, "bob", TEXT, path=path)
        assert listed(usher, "bob")[document] == path
    composed = added(usher, "bob", TEXT, path="caf\u00e9.md")
    assert put(usher, "bob", TEXT, path="cafe\u0301.md").json()["document"] == composed


KINDS: Mapping[str, tuple[str, bytes, tuple[int, str]]] = {
    "no suffix": ("README", b"x", (415, "file")),
    "a program": ("x.exe", b"MZ", (415, "file")),
    "a page with a program's suffix in front": ("x.md.html.sh", b"x", (415, "file")),
    "an old format": ("x.doc", b"x", (415, "file")),
    "a PDF in a text's clothes": ("x.md", b"%PDF-1.7 ...", (422, "file")),
    "an archive in a text's clothes": ("x.txt", b"PK\x03\x04....", (422, "file")),
    "no UTF-8": ("x.md", b"\xff\xfe\x00", (422, "file")),
    "a text in a PDF's clothes": ("x.pdf", b"hello", (422, "file")),
    "an empty file": ("x.md", b"", (422, "file")),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_file_that_is_no_document_is_refused_with_the_remedy(
    usher: World, kind: tuple[str, bytes, tuple[int, str]]
) -> None:
    """Nothing of it is quoted, and nothing stays; the media type that the client claims does not matter."""
    filename, content, expected = kind
    before = state(usher)
    file = {"collection": (None, "handbook"), "file": (filename, content, "text/markdown")}
    answer = usher.ask("POST", PATH, files=file)
    assert refused(usher, answer, before) == expected
    assert answer.json()["remedy"]


def test_the_claimed_media_type_does_not_matter(usher: World) -> None:
    """The suffix and the bytes decide."""
    file = {"collection": (None, "handbook"), "file": (name(), b"# Lynx\n\nlynx\n", "image/png; charset=nope")}
    answer = usher.ask("POST", PATH, files=file)
    assert answer.status_code == 201
    assert usher.ask("GET", f"{PATH}/{answer.json()['document']}").json()["media_type"] == "text/markdown"


def test_a_replacement_that_cannot_be_converted_leaves_the_document_as_it_was(usher: World) -> None:
    """422, and the old text is still found."""
    document = added(usher, "bob", "# Emu\n\nThe emu rule.\n", name())
    before = state(usher)
    assert refused(usher, put(usher, "bob", b"\xff\xfe", document=document), before) == (422, "file")
    assert document in found(usher, "alice", "emu")


FORMS = {
    "readers": (FORM + FILE + _part('name="readers"') + END, 400),
    "markings": (FORM + FILE + _part('name="markings"') + END, 400),
    "roles": (FORM + FILE + _part('name="roles[]"') + END, 400),
    "a source": (FORM + FILE + _part('name="source"') + END, 400),
    "requirements": (FORM + FILE + _part('name="requirements"', b"coll:handbook") + END, 400),
    "no collection": (FILE + END, 400),
    "an empty collection": (_part('name="collection"', b"") + FILE + END, 400),
    "a marking for a collection": (_part('name="collection"', b"mark:mnpi") + FILE + END, 403),
    "two collections": (FORM + _part('name="collection"', b"finance") + FILE + END, 400),
    "two files": (FORM + FILE + FILE + END, 400),
    "a collection that is a file": (_part('name="collection"; filename="x.md"') + FILE + END, 400),
    "a file that is a text": (FORM + _part('name="file"') + END, 400),
    "a file without a name": (FORM + _part('name="file"; filename=""') + END, 400),
    "neither file nor document": (FORM + END, 400),
    "a document that is no id": (FORM + FILE + _part('name="document"') + END, 404),
    "a climbing collection": (_part('name="collection"', b"handbook/../finance") + FILE + END, 400),
    "a collection that is no UTF-8": (_part('name="collection"', b"\xff") + FILE + END, 400),
    "a part in an unknown character set": (
        FORM + _part('name="path"\r\nContent-Type: a/b; charset=nope') + FILE + END,
        400,
    ),
    "many parts": (FORM + FILE * 50 + END, 400),
    "no end": (FORM + FILE, 400),
    "cut in the head": (FORM + b"--b\r\nContent-Dispo", 400),
    "nothing": (b"", 400),
    "no form": (b"{}", 400),
}


def test_nobody_sends_a_file_in_vain(usher: World) -> None:
    """Whoever may fill no collection is told so before the body is read."""
    expected = put(usher, "bob", collection="finance")

    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    answer = usher.ask(
        "POST", PATH, "erin", content=unread(), headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert told(answer) == told(expected)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_that_is_none_or_asks_for_more_is_refused(usher: World, form: tuple[bytes, int]) -> None:
    """Nobody names readers, markings or roles; a broken form is 400, never 500."""
    body, status = form
    before = state(usher)
    assert refused(usher, send(usher, body), before)[0] == status


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_of_another_media_type_is_415(usher: World, kind: str) -> None:
    """With the one that is taken."""
    answer = usher.ask("POST", PATH, content=FORM + FILE + END, headers={"content-type": kind})
    assert answer.status_code == 415
    assert "multipart/form-data" in answer.json()["remedy"]


def test_while_others_change_documents_one_is_told_when_to_come_back(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """409 with `retry-after`, for an upload and a deletion; whoever may not is told so without waiting."""
    monkeypatch.setattr(uploads, "PATIENCE", 0.01)
    document = added(usher, "bob", TEXT, name())
    before = state(usher)
    usher.run(usher.services.ingest.turn.acquire())
    answers = [put(usher, "bob"), put(usher, "bob", document=document), usher.ask("DELETE", f"{PATH}/{document}")]
    denied = [put(usher, "bob", collection="finance"), usher.ask("DELETE", f"{PATH}/{uuid4()}")]
    usher.services.ingest.turn.release()
    assert [answer.status_code for answer in denied] == [403, 404]
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [(409, "10")] * 3
    assert state(usher) == before


def test_uploads_wait_for_one_another_and_a_run_waits_for_them(usher: World) -> None:
    """All of them are done in the end, one after another, and each is whole."""
    (usher.folder / "more").mkdir()
    (usher.folder / "more" / "kudu.md").write_text("# Kudu\n\nkudu zero\n")
    options = IngestOptions(usher.folder / "more", "more", collection="handbook")

    async def run_of_ingest() -> list[dict[str, Any]]:
        return [event async for event in usher.services.ingest.run(options, OPERATOR)]

    async def all_at_once() -> list[httpx.Response]:
        forms = [
            {"collection": (None, "handbook"), "file": (f"kudu{n}.md", f"# Kudu\n\nkudu {n}\n".encode())}
            for n in range(8)
        ]
        sent = [asyncio.create_task(usher.asked("POST", PATH, "bob", files=form)) for form in forms]
        running = asyncio.create_task(run_of_ingest())
        assert (await running)[-1]["added"] == 1
        return await asyncio.gather(*sent)

    answers = usher.run(all_at_once())
    assert {answer.status_code for answer in answers} == {201}
    assert len(found(usher, "bob", "kudu")) == 9


def test_an_upload_that_cannot_be_recorded_is_nobodys_until_it_is(usher: World) -> None:
    """503; once it is recorded it is there whole."""
    log = usher.services.review._log
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
    options = IngestOptions(usher.folder / "more", UPLOADS, sync=True, collection="handbook")

    async def run_of_ingest() -> list[dict[str, Any]]:
        return [event async for event in usher.services.ingest.run(options, OPERATOR)]

    (usher.folder / "more").mkdir(exist_ok=True)
    with pytest.raises(UserError) as refusal:
        usher.run(run_of_ingest())
    assert refusal.value.field == "source"
    assert state(usher) == before
