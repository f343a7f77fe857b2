"""What is sent to `POST /api/documents`: sizes, names, kinds and forms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.web.upload_kit import PATH, TEXT, added, found, listed, put, shelves, state, told
from tests.web.world import World

from usher.backends.convert import ChildConverter
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
