"""Files to Markdown: text here, everything else in a confined child process that a hostile file may take down.

What is done to every text, and nothing else, because offsets into it are kept: line ends become `\\n`, a form feed or
vertical tab too; other control characters, NUL among them, and a byte order mark are dropped. Unicode is not
normalised.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import dataclass
from pathlib import PurePath

import anyio
import msgspec

from usher.backends.convert_child import PREFIX, READY, Confinement, Job, Reply
from usher.backends.convert_formats import Bounds, Refused, decode_utf8
from usher.ports import ConversionFailed, Converted

MEDIA_TYPES = {
    ".md": "text/markdown",
    ".txt": "text/plain",
    ".html": "text/html",
    ".csv": "text/csv",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
PLAIN_TEXT = (".md", ".txt")
TEXT = (*PLAIN_TEXT, ".html", ".csv")
ZIP, PDF, OLE = b"PK\x03\x04", b"%PDF-", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MAGIC = {".pdf": PDF, ".docx": ZIP, ".pptx": ZIP, ".xlsx": ZIP}
BINARY = (ZIP, PDF, OLE, b"PK\x05\x06", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"\x89PNG", b"\xff\xd8\xff", b"{\\rtf")
UTF16 = (b"\xff\xfe", b"\xfe\xff")

LINE_END = re.compile("\r\n|[\r\v\f]")
DROPPED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff]")
FENCE = re.compile(r" {0,3}(```|~~~)")
HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*$")
FRONT_MATTER = re.compile(r"---\n(?:(?!---\n).*\n)*?title:[ \t]*(.+)\n")
GENERATED_HEADINGS = (".pdf", ".xlsx", ".csv", ".txt")
"""Formats without headings of their own: page numbers and sheet names make no title."""
TITLE_CHARACTERS = 200
FILES_PER_CHILD = 500
"""After so many files the child is replaced: what its libraries leak stays bounded."""
START_SECONDS = 30.0
ENVIRONMENT = {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""All that the child inherits: none of the server's settings or secrets."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may take. `seconds` is wall-clock time; the processor may be used for as long."""

    seconds: float = 30.0
    memory_bytes: int = 1024**3
    output_bytes: int = 20 * 1024**2
    expanded_bytes: int = 200 * 1024**2
    entries: int = 10_000

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.output_bytes, self.expanded_bytes, self.entries)


class ChildConverter:
    """The `Converter` port over one long-lived child process, made when first needed and replaced after a failure.

    Conversions run one at a time; each call belongs to the event loop that made the first one. A file that hangs,
    crashes or outgrows its limits fails alone, and so does one whose caller is cancelled. The size of `data` is the
    caller's to limit.
    """

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits
        self._child: Process | None = None
        self._converted = 0
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        return self._child.pid if self._child else None

    async def convert(self, data: bytes, suffix: str, name: str) -> Converted:
        """The document's text and title. Raises `ConversionFailed` with the reason and the remedy."""
        suffix = suffix.lower()
        try:
            check_kind(data, suffix)
            if not data:
                draft = Reply(notes=("the file is empty",))
            elif suffix in PLAIN_TEXT:
                draft = plain(data, self._limits)
            else:
                async with self._turn:
                    draft = await self._ask(Job(data, suffix))
        except Refused as refused:
            raise ConversionFailed(str(refused)) from None
        if draft.error:
            raise ConversionFailed(draft.error)
        text = cleaned(draft.text)
        return Converted(text, title_of(text, suffix, draft.title, name), MEDIA_TYPES[suffix], draft.notes)

    async def close(self) -> None:
        """End the child, at once."""
        await self._end()

    async def _ask(self, job: Job) -> Reply:
        """One job, one reply. Whatever goes wrong, the child that saw this file sees no other."""
        try:
            child = await self._ready_child()
            reply = await self._exchange(child, job)
        except BaseException:
            await self._end()
            raise
        self._converted += 1
        if reply.error or self._converted >= FILES_PER_CHILD:
            await self._end()
        return reply

    async def _exchange(self, child: Process, job: Job) -> Reply:
        try:
            async with asyncio.timeout(self._limits.seconds):
                await write_frame(child, msgspec.msgpack.encode(job))
                # A title, notes and the packing come on top of the text
                frame = await read_frame(child, self._limits.output_bytes + 2**20)
        except TimeoutError:
            raise Refused(f"it took longer than {self._limits.seconds:g} seconds to convert; split it") from None
        except (OSError, EOFError):
            raise Refused("its conversion ended abruptly (damaged, or too large in memory); save it anew") from None
        try:
            return msgspec.msgpack.decode(frame, type=Reply)
        except msgspec.DecodeError:
            raise Refused("its conversion gave no readable answer; save it anew") from None

    async def _ready_child(self) -> Process:
        if self._child is not None and self._child.returncode is None:
            return self._child
        await self._end()
        self._child = await start_child(self._limits)
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = await read_frame(self._child, len(READY))
        except (TimeoutError, OSError, EOFError):
            ready = b""
        if ready != READY:
            raise Refused("the conversion process could not start confined; its kernel or its installation forbids it")
        return self._child

    async def _end(self) -> None:
        child, self._child, self._converted = self._child, None, 0
        if child is None:
            return
        if child.returncode is None:
            child.kill()
        with anyio.CancelScope(shield=True):  # a killed process is gone in milliseconds
            await drain(child)


async def start_child(limits: Limits) -> Process:
    """Start the child from the event loop's own thread: it ends with the *thread* that started it."""
    confinement = Confinement(os.getpid(), limits.memory_bytes, max(1, round(limits.seconds)), limits.bounds)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-m",
        "usher.backends.convert_child",
        msgspec.json.encode(confinement).decode(),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )


async def drain(child: Process) -> None:
    """Read a killed child's pipe to its end and reap it, so that nothing of it stays open."""
    assert child.stdin is not None  # noqa: S101 - it was asked for
    assert child.stdout is not None  # noqa: S101 - it was asked for
    child.stdin.close()
    while await child.stdout.read(2**16):
        pass
    await child.wait()


async def write_frame(child: Process, frame: bytes) -> None:
    assert child.stdin is not None  # noqa: S101 - it was asked for
    child.stdin.write(PREFIX.pack(len(frame)))
    child.stdin.write(frame)
    await child.stdin.drain()


async def read_frame(child: Process, most: int) -> bytes:
    """The next frame of at most `most` bytes. Raises `EOFError`, also for a longer one."""
    assert child.stdout is not None  # noqa: S101 - it was asked for
    (length,) = PREFIX.unpack(await child.stdout.readexactly(PREFIX.size))
    if length > most:
        raise EOFError
    return await child.stdout.readexactly(length)


def check_kind(data: bytes, suffix: str) -> None:
    """Refuse what is not of an allowed kind by suffix and by its first bytes; empty data is of any kind."""
    if suffix not in MEDIA_TYPES:
        raise Refused(f"files of type {suffix or '(none)'!r} are not taken; convert it to {', '.join(MEDIA_TYPES)}")
    if not data:
        return
    if suffix in TEXT:
        if data.startswith(BINARY):
            raise Refused(f"it is a binary file, no {suffix[1:]}; give it the suffix of what it is")
        if data.startswith(UTF16):
            raise Refused("it is UTF-16; save it with the encoding UTF-8")
    elif data.startswith(OLE):
        raise Refused("it is encrypted or in an old binary format; save it without a password in today's format")
    elif not data.startswith(MAGIC[suffix]):
        raise Refused(f"its content is no {suffix[1:]} file; give it the suffix of what it is")


def plain(data: bytes, limits: Limits) -> Reply:
    if len(data) > limits.output_bytes:
        raise Refused(f"its text is longer than {limits.output_bytes:,} bytes; split the document")
    return Reply(decode_utf8(data))


def cleaned(text: str) -> str:
    return DROPPED.sub("", LINE_END.sub("\n", text))


def title_of(text: str, suffix: str, metadata: str, name: str) -> str:
    """The first heading, else the title in the metadata (or in Markdown's front matter), else the file's stem."""
    front_matter = FRONT_MATTER.match(text) if suffix == ".md" else None
    heading = "" if suffix in GENERATED_HEADINGS else first_heading(text)
    candidates = (heading, metadata, front_matter[1].strip("\"' ") if front_matter else "", PurePath(name).stem)
    shown = (" ".join(re.sub(r"[*`\[\]]", "", cleaned(title)).split()) for title in candidates)
    return next((title[:TITLE_CHARACTERS] for title in shown if title), name)


def first_heading(text: str) -> str:
    """The first ATX heading outside a fenced block, or an empty string."""
    fence = ""
    for line in text.split("\n"):
        opened = FENCE.match(line)
        if opened:
            fence = "" if opened[1] == fence else fence or opened[1]
        elif not fence and (heading := HEADING.match(line)) and heading[1]:
            return heading[1]
    return ""
