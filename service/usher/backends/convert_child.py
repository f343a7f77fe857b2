"""The conversion child: one process that turns hostile files into text and can do nothing else.

It reads length-prefixed msgpack `Job`s on standard input and answers each with a `Reply`. Before the first job it
gives up, for good: opening sockets, starting programs, writing files, reading files outside the libraries, and more
memory or processor time than its limits. It ends with its parent, also when that is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import mimetypes
import os
import platform
import resource
import signal
import struct
import sys
from typing import BinaryIO

import msgspec

from usher.backends.convert_formats import Bounds, Refused, convert_bytes

PREFIX = struct.Struct(">I")
READY = b"ready"

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 1, 22, 38, 2
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # classic BPF: BPF_LD|W|ABS, BPF_JMP|JEQ|K, JGE, BPF_RET|K
KILL, REFUSE, ALLOW = 0x80000000, 0x00050000 | 1, 0x7FFF0000  # SECCOMP_RET_KILL_PROCESS, _ERRNO(EPERM), _ALLOW
OTHER_ABI = 0x40000000  # x32 calls on x86-64 have this bit
# socket, connect, socketpair, execve, execveat, ptrace, process_vm_readv and _writev, io_uring_setup, pidfd_getfd
CALLS = {
    "x86_64": (0xC000003E, (41, 42, 53, 59, 322, 101, 310, 311, 425, 438)),
    "aarch64": (0xC00000B7, (198, 203, 199, 221, 281, 117, 270, 271, 425, 438)),
}
FORBIDDEN_EVENTS = ("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.system", "os.fork", "urllib.")


class Confinement(msgspec.Struct, frozen=True):
    """What the child gets on its command line, as JSON. Bytes and seconds."""

    parent: int
    memory_bytes: int
    cpu_seconds: int
    bounds: Bounds


class Job(msgspec.Struct, frozen=True):
    data: bytes
    suffix: str


class Reply(msgspec.Struct, frozen=True):
    """`error` is empty for a converted file, else the reason and the remedy."""

    text: str = ""
    title: str = ""
    notes: tuple[str, ...] = ()
    error: str = ""


def main(arguments: list[str]) -> int:
    """Serve jobs until standard input ends. The one argument is a `Confinement` in JSON."""
    given = msgspec.json.decode(arguments[0], type=Confinement)
    jobs, replies = take_pipes()
    confine(given)
    write_frame(replies, READY)
    while (frame := read_frame(jobs)) is not None:
        allow_seconds(given.cpu_seconds)
        reply = answer(msgspec.msgpack.decode(frame, type=Job), given.bounds)
        write_frame(replies, msgspec.msgpack.encode(reply))
    return 0


def answer(job: Job, bounds: Bounds) -> Reply:
    """Convert one file; whatever a library raises becomes a reason that does not repeat its words."""
    kind = job.suffix[1:]
    try:
        draft = convert_bytes(job.data, job.suffix, bounds)
    except Refused as refused:
        return Reply(error=str(refused))
    except (MemoryError, RecursionError) as error:
        return Reply(error=f"it needs more memory than a conversion may take ({type(error).__name__}); split it")
    except Exception as error:
        return Reply(error=f"it is damaged or no {kind} file ({type(error).__name__}); open it and save it anew")
    return Reply(without_surrogates(draft.text), without_surrogates(draft.title), draft.notes)


def without_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes for frames alone: a library that prints, or reads standard input, meets /dev/null."""
    jobs, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    return jobs, replies


def confine(given: Confinement) -> None:
    """Give up every right that a conversion does not need. Raises `OSError` where the kernel refuses: no confinement,
    no conversion. (Outside Linux the interpreter's own hook is all that stands between a file and the network.)

    1. End with the parent.
    2. Limits on memory, written files and core dumps.
    3. No socket, no program: in the kernel.
    4. The same, and no file outside the libraries, in the interpreter.
    """
    if sys.platform == "linux":
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != given.parent:
        raise OSError("the parent has ended")
    for limit, value in (
        (resource.RLIMIT_AS, given.memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    if sys.platform == "linux":
        forbid_system_calls()
    forbid_in_interpreter()


def prctl(option: int, *arguments: int | ctypes._Pointer[ctypes.Structure]) -> None:
    values = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    values += [ctypes.c_ulong(0)] * (4 - len(values))
    if ctypes.CDLL(None, use_errno=True).prctl(option, *values) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) was refused")


class Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction)))


def forbid_system_calls() -> None:
    """Install a seccomp filter (kernel documentation, userspace-api/seccomp_filter) that answers EPERM to `CALLS`."""
    if platform.machine() not in CALLS:
        raise OSError(f"no system call table for {platform.machine()}")
    architecture, calls = CALLS[platform.machine()]
    count = len(calls)
    steps = [
        (LOAD, 0, 0, 4),  # seccomp_data.arch
        (EQUAL, 0, count + 3, architecture),
        (LOAD, 0, 0, 0),  # seccomp_data.nr
        (AT_LEAST, count + 1, 0, OTHER_ABI),
        *((EQUAL, count + 1 - index, 0, call) for index, call in enumerate(calls)),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, KILL),
        (RETURN, 0, 0, REFUSE),
    ]
    instructions = (Instruction * len(steps))(*(Instruction(*step) for step in steps))
    program = Program(len(steps), instructions)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.pointer(program))


def forbid_in_interpreter() -> None:
    """An audit hook, which nothing can remove: no socket, no program, no file but those of Python and its packages."""
    mimetypes.init()  # openpyxl needs what this reads from /etc
    libraries = tuple({os.path.realpath(path) for path in (*sys.path, sys.prefix, sys.base_prefix) if path})

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(FORBIDDEN_EVENTS):
            raise PermissionError(f"{event} is forbidden in a conversion")
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith((*libraries, "/dev/", "/usr/lib", "/usr/share/zoneinfo")):
                raise PermissionError("reading a file is forbidden in a conversion")

    sys.addaudithook(refuse)


def allow_seconds(seconds: int) -> None:
    """Let the next job take this much processor time; the kernel's count runs from the start of the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, hard))


def read_frame(pipe: BinaryIO) -> bytes | None:
    """The next frame, or None at the end of the pipe."""
    prefix = pipe.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    (length,) = PREFIX.unpack(prefix)
    frame = pipe.read(length)
    return frame if len(frame) == length else None


def write_frame(pipe: BinaryIO, frame: bytes) -> None:
    pipe.write(PREFIX.pack(len(frame)) + frame)
    pipe.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main(sys.argv[1:]))
