"""Hostile and broken files: each fails alone, within its limits, and its words stay in it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sample.make_binaries import pdf_bytes
from tests.backends import convert_files

from usher.backends.convert import ChildConverter, Limits
from usher.ports import ConversionFailed, Converted

CONFINED = """
import os, sys
from usher.backends.convert_child import Confinement, confine
from usher.backends.convert_formats import Bounds
confine(Confinement(os.getppid(), 2**30, 5, Bounds(1, 1, 1)))
"""
MARKER = "Zwergseidenaffe"
GOOD = b"a,b\n1,2\n"


@pytest.fixture(scope="module")
def convert() -> Iterator[convert_files.Convert]:
    with convert_files.converting(Limits(output_bytes=50_000)) as (converter, runner):
        yield lambda data, name: runner.run(converter.convert(data, "." + name.rpartition(".")[2], name))


def confined(code: str) -> str:
    """What a confined child prints after `code`."""
    done = subprocess.run([sys.executable, "-I", "-c", CONFINED + code], capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr[-300:]


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def lying(data: bytes) -> bytes:
    """The same zip, each of whose parts declares one byte."""
    out, start = bytearray(data), 0
    while (start := out.find(b"PK\x01\x02", start)) >= 0:
        out[start + 24 : start + 28] = b"\x01\x00\x00\x00"
        start += 4
    return bytes(out)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.exe", b"MZ", "not taken"),
        ("a", b"text", "not taken"),
        ("a.txt", convert_files.zip_of({"word/document.xml": MARKER.encode()}), "binary file"),
        ("a.md", b"%PDF-1.7 " + MARKER.encode(), "binary file"),
        ("a.txt", MARKER.encode("utf-16"), "UTF-16"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + MARKER.encode(), "encrypted or in an old"),
        ("a.docx", MARKER.encode(), "no docx file"),
        ("a.pdf", MARKER.encode(), "no pdf file"),
        ("a.txt", MARKER.encode() * 4_000, "longer than 50,000 bytes"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused(
    convert: convert_files.Convert, name: str, data: bytes, reason: str
) -> None:
    """The reason names the remedy and never quotes the file; no child is needed to see it."""
    check_refusal(convert, name, data, reason)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.pdf", b"%PDF-1.7\n" + MARKER.encode(), "damaged"),
        ("a.docx", b"PK\x03\x04" + MARKER.encode(), "damaged"),
        ("a.xlsx", convert_files.zip_of({"[Content_Types].xml": b"", "word/x": MARKER.encode()}), "no xlsx document"),
        ("a.xlsx", convert_files.zip_of({"[Content_Types].xml": b"", "xl/x": MARKER.encode()}), "damaged"),
        ("a.pptx", convert_files.zip_of({str(part): b"" for part in range(10_001)}), "10,000 parts"),
        ("a.csv", (MARKER.encode() + b",") * 4_000, "longer than 50,000 bytes"),
        ("a.csv", b"\n".join([b"x", *[b"," * 30_000 + b"x"] * 2]), "longer than 50,000 bytes"),
        ("a.pdf", pdf_bytes("", [[MARKER] * 40] * 150), "longer than 50,000 bytes"),
    ],
)
def test_a_broken_or_outsized_file_fails_alone(
    convert: convert_files.Convert, name: str, data: bytes, reason: str
) -> None:
    """The reason names the remedy and never quotes the file, and the next file is converted."""
    check_refusal(convert, name, data, reason)
    assert convert(GOOD, "a.csv").text.startswith("| a | b |")


def check_refusal(convert: convert_files.Convert, name: str, data: bytes, reason: str) -> None:
    with pytest.raises(ConversionFailed, match=reason) as failure:
        convert(data, name)
    assert MARKER not in str(failure.value)
    assert ";" in str(failure.value)


@pytest.mark.slow
def test_a_zip_bomb_is_refused_before_it_is_unpacked(convert: convert_files.Convert) -> None:
    """A small docx that declares 310 MiB is refused at once."""
    bomb = convert_files.inflating_docx(310)
    assert len(bomb) < 2 * 2**20
    started = time.monotonic()
    with pytest.raises(ConversionFailed, match="unpack to more than"):
        convert(bomb, "bomb.docx")
    assert time.monotonic() - started < 5


@pytest.mark.crash
def test_a_zip_bomb_that_lies_about_its_size_is_not_unpacked(convert: convert_files.Convert) -> None:
    """A docx whose parts declare one byte is read as far as one byte, so it is damaged."""
    with pytest.raises(ConversionFailed, match="damaged"):
        convert(lying(convert_files.inflating_docx(310)), "bomb.docx")


@pytest.mark.crash
def test_a_file_that_needs_too_much_memory_or_time_fails_alone() -> None:
    """60 MiB of paragraphs are within the declared bounds, and still end at the limits of memory or time."""
    limits = Limits(seconds=4, memory_bytes=600 * 2**20)
    with convert_files.converting(limits) as (converter, runner):
        started = time.monotonic()
        with pytest.raises(ConversionFailed, match=r"memory|longer than 4 seconds"):
            runner.run(converter.convert(convert_files.inflating_docx(60), ".docx", "big.docx"))
        assert time.monotonic() - started < 12
        assert runner.run(converter.convert(GOOD, ".csv", "a.csv")).text


def test_a_hanging_conversion_is_ended_at_its_time_limit() -> None:
    """A child that answers nothing is killed and replaced."""
    with convert_files.converting(Limits(seconds=0.3)) as (converter, runner):
        runner.run(converter.convert(GOOD, ".csv", "a.csv"))
        first = converter.pid
        assert first
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(ConversionFailed, match=r"longer than 0\.3 seconds"):
            runner.run(converter.convert(GOOD, ".csv", "a.csv"))
        assert not alive(first)
        assert runner.run(converter.convert(GOOD, ".csv", "a.csv")).text
        assert converter.pid != first


@pytest.mark.parametrize("how", ["killed", "cancelled"])
def test_a_conversion_that_is_ended_midway_takes_nothing_with_it(how: str) -> None:
    """A killed child fails its file alone; a cancelled call ends its child; later files are converted."""

    async def story(converter: ChildConverter) -> Converted:
        await converter.convert(GOOD, ".csv", "a.csv")
        child = converter.pid
        assert child
        os.kill(child, signal.SIGSTOP)
        call = asyncio.create_task(converter.convert(GOOD, ".csv", "b.csv"))
        waiting = asyncio.create_task(converter.convert(GOOD, ".csv", "c.csv"))
        await asyncio.sleep(0.05)
        if how == "killed":
            os.kill(child, signal.SIGKILL)
            with pytest.raises(ConversionFailed, match="ended abruptly"):
                await call
        else:
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert not alive(child)
        return await waiting

    with convert_files.converting(Limits()) as (converter, runner):
        assert runner.run(story(converter)).text


@pytest.mark.slow
def test_a_child_that_died_between_two_files_is_replaced() -> None:
    """Only a file that was being converted fails with its child."""

    async def story(converter: ChildConverter) -> Converted:
        await converter.convert(GOOD, ".csv", "a.csv")
        assert converter.pid
        os.kill(converter.pid, signal.SIGKILL)
        await asyncio.sleep(0.1)
        return await converter.convert(GOOD, ".csv", "b.csv")

    with convert_files.converting(Limits()) as (converter, runner):
        assert runner.run(story(converter)).text


def test_a_confined_child_can_open_no_socket_and_start_no_program() -> None:
    """The interpreter refuses, and so does the kernel where the interpreter is passed by."""
    said = confined("""
import ctypes, socket
try: socket.socket()
except PermissionError: print("python refuses")
libc = ctypes.CDLL(None, use_errno=True)
print([libc.socket(family, 1, 0) for family in (1, 2, 10)], ctypes.get_errno())
print(libc.execv(b"/bin/true", (ctypes.c_char_p * 2)(b"true", None)))
""")
    assert said == "python refuses\n[-1, -1, -1] 1\n-1\n"


def test_a_confined_child_reads_and_writes_no_file(tmp_path: Path) -> None:
    """Files outside Python's own folders are closed to it, and nothing can be written."""
    (tmp_path / "secret").write_text("secret")
    said = confined(f"""
try: open({str(tmp_path / "secret")!r})
except PermissionError: print("not read")
import resource
print(resource.getrlimit(resource.RLIMIT_FSIZE), resource.getrlimit(resource.RLIMIT_CORE))
""")
    assert said == "not read\n(0, 0) (0, 0)\n"


@pytest.mark.slow
@pytest.mark.enable_socket
def test_a_document_that_links_to_a_host_causes_no_connection() -> None:
    """A picture at an address is not fetched: its listener is never called."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener, convert_files.converting(Limits()) as (converter, runner):
        listener.setblocking(False)
        document = convert_files.linking_docx(f"http://127.0.0.1:{listener.getsockname()[1]}/secret.png")
        assert "before" in runner.run(converter.convert(document, ".docx", "a.docx")).text
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_the_child_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's environment does not reach the child."""
    monkeypatch.setenv("USHER_MASTER_KEY", MARKER)
    with convert_files.converting(Limits()) as (converter, runner):
        runner.run(converter.convert(GOOD, ".csv", "a.csv"))
        assert MARKER.encode() not in Path(f"/proc/{converter.pid}/environ").read_bytes()


@pytest.mark.slow
def test_the_child_ends_with_its_parent() -> None:
    """A parent that is killed leaves no child behind."""
    script = """
import asyncio, time
from usher.backends.convert import ChildConverter
async def main():
    converter = ChildConverter()
    await converter.convert(b"a,b", ".csv", "a.csv")
    print(converter.pid, flush=True)
    time.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        os.kill(child, signal.SIGSTOP)  # it cannot notice the end of its pipe
        parent.kill()
    ended = time.monotonic() + 5
    while alive(child):
        assert time.monotonic() < ended
        time.sleep(0.01)
