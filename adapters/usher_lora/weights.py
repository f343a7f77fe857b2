"""An adapter's folder, looked at without loading anything: its files, its settings, its weights.

Each file is read once, and what is hashed is what was looked at. The folder is given by whoever opens files
(`adapter_files`); here is decided what may be in it.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Final, Protocol

import numpy as np

from usher_lora.faults import AdapterFault
from usher_lora.manifest import CONFIG, SERVED_FILES, WEIGHTS, FileDigest, Peft
from usher_lora.peft_config import MOST_BYTES, Meaning, ServerLimits, read_config
from usher_lora.safetensors_header import LENGTH_BYTES, Tensor, header_length, read_header

MOST_WEIGHTS: Final = 4 << 30
"""Bytes of an adapter's weights."""
_CHUNK: Final = 1 << 22
_TENSOR: Final = re.compile(r"base_model\.model\.([A-Za-z0-9_.]{1,300})\.lora_([AB])\.weight")
_PICKLED: Final = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".msgpack")


class Kind(StrEnum):
    """What a name in a folder is, without following it."""

    FILE = "file"
    LINK = "link"
    FOLDER = "folder"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    kind: Kind
    size: int


class AdapterFolder(Protocol):
    """A folder with an adapter in it."""

    def members(self) -> Iterable[Member]:
        """Everything in it, hidden names too."""

    def open(self, name: str) -> BinaryIO:
        """A file of it, which is that file even if the name was made a link meanwhile. Raises `AdapterFault`."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """An adapter that can be served: its settings, and its files' digests in order."""

    peft: Peft
    files: tuple[FileDigest, ...]


def inspect(folder: AdapterFolder, limits: ServerLimits) -> Inspected:
    """What the adapter is. Raises `AdapterFault` with the first thing that is wrong.

    1. nothing but the two files, as plain files  2. settings that the server can serve
    3. a header that can be read in one way only  4. tensors that are those of the settings  5. numbers that are finite
    """
    sizes = _sizes(list(folder.members()))
    with folder.open(CONFIG) as file:
        config = file.read(MOST_BYTES + 1)
    if len(config) != sizes[CONFIG]:
        raise AdapterFault(CONFIG, "changed while it was read, or is too long", "write it once, and then import it")
    peft = read_config(config, limits)
    with folder.open(WEIGHTS) as file:
        weights = _weights(file, sizes[WEIGHTS], peft)
    return Inspected(peft, (FileDigest(CONFIG, len(config), hashlib.sha256(config).hexdigest()), weights))


def digests(folder: AdapterFolder) -> tuple[FileDigest, ...]:
    """The files' digests alone, for a look at whether they are still those of the manifest. Raises `AdapterFault`."""
    sizes = _sizes(list(folder.members()))
    found = []
    for name in SERVED_FILES:
        with folder.open(name) as file:
            found.append(FileDigest(name, sizes[name], _hashed(file)))
    return tuple(found)


def _hashed(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while data := file.read(_CHUNK):
        digest.update(data)
    return digest.hexdigest()


def changed(folder: AdapterFolder, files: Sequence[FileDigest]) -> str | None:
    """What of the folder is not as its manifest says, in words; None if it is."""
    try:
        found = digests(folder)
    except AdapterFault as fault:
        return str(fault)
    return next((f"{one.name} is another file" for one, told in zip(found, files, strict=True) if one != told), None)


def _sizes(members: Sequence[Member]) -> dict[str, int]:
    for member in members:
        _check_name(member)
    missing = set(SERVED_FILES) - {member.name for member in members}
    if missing or len(members) != len(SERVED_FILES):
        raise AdapterFault("folder", f"has no {min(missing, default='such file once')}", "save the adapter anew")
    sizes = {member.name: member.size for member in members}
    if not 0 < sizes[CONFIG] <= MOST_BYTES or not 0 < sizes[WEIGHTS] <= MOST_WEIGHTS:
        raise AdapterFault("folder", "has a file that is empty or too long", "save the adapter anew")
    return sizes


def _check_name(member: Member) -> None:
    shown = repr(member.name[:60])
    if "/" in member.name or "\\" in member.name or member.name in ("", ".", "..") or "\0" in member.name:
        raise AdapterFault("folder", f"has the name {shown}, which is a path", "import plain files")
    if member.kind is not Kind.FILE:
        raise AdapterFault("folder", f"has {shown}, which is no plain file", "import plain files, no links or folders")
    if member.name.endswith(_PICKLED):
        raise AdapterFault("folder", f"has {shown}, whose loading can run code", "save the weights as safetensors")
    if member.name not in SERVED_FILES:
        remedy = "leave only " + " and ".join(SERVED_FILES)
        raise AdapterFault("folder", f"has {shown}, which no adapter needs", remedy)


def _weights(file: BinaryIO, size: int, peft: Peft) -> FileDigest:
    digest = hashlib.sha256()
    prefix = file.read(LENGTH_BYTES)
    header = file.read(header_length(prefix, size))
    digest.update(prefix)
    digest.update(header)
    tensors = read_header(header, size - LENGTH_BYTES - len(header))
    _check_tensors(tensors, peft)
    for tensor in tensors:
        _scan(file, tensor, digest.update)
    if file.read(1):
        raise AdapterFault("weights", "changed while they were read", "write them once, and then import them")
    return FileDigest(WEIGHTS, size, digest.hexdigest())


class _Update(Protocol):
    def __call__(self, data: bytes, /) -> object: ...


def _scan(file: BinaryIO, tensor: Tensor, update: _Update) -> None:
    """Read a tensor's bytes, a few MiB at a time; every number in it is finite."""
    left = tensor.end - tensor.start
    while left:
        data = file.read(min(left, _CHUNK))
        if not data or (len(data) % 4 and len(data) != left):
            raise AdapterFault("weights", "changed while they were read", "write them once, and then import them")
        if not _finite(data, tensor.dtype):
            problem = "have a number that is none or infinite"
            raise AdapterFault("weights", problem, "train anew, with a lower learning rate")
        update(data)
        left -= len(data)


def _finite(data: bytes, dtype: str) -> bool:
    if dtype == "BF16":  # the upper half of a float32: all ones in the exponent are no number
        return not bool(((np.frombuffer(data, "<u2") & 0x7F80) == 0x7F80).any())
    return bool(np.isfinite(np.frombuffer(data, "<f4" if dtype == "F32" else "<f2")).all())


def _check_tensors(tensors: Iterable[Tensor], peft: Peft) -> None:
    """Each module has one A and one B of its rank, is meant by the settings, and each setting means a module."""
    pairs: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for tensor in tensors:
        named = _TENSOR.fullmatch(tensor.name)
        if named is None:
            remedy = "train plain LoRA, without DoRA, added tokens or saved modules"
            raise AdapterFault("weights", f"have {tensor.name[:80]!r}, which is no part of a LoRA", remedy)
        pairs[named[1]][named[2]] = tensor.shape
    meaning, unused = Meaning(peft), set(peft.target_modules)
    for module, shapes in pairs.items():
        meant = meaning.targets(module)
        if not meant:
            raise AdapterFault("weights", f"change {module[:80]!r}, which is no target module", "save it anew")
        unused.difference_update(meant)
        if meaning.ambiguous(module):
            raise AdapterFault("rank_pattern", f"or alpha_pattern means {module[:80]!r} twice", "write one name for it")
        _check_pair(module, shapes, meaning.rank(module))
    if unused:
        raise AdapterFault("weights", f"have nothing for the target module {min(unused)[:80]!r}", "save it anew")


def _check_pair(module: str, shapes: dict[str, tuple[int, ...]], rank: int) -> None:
    if set(shapes) != {"A", "B"} or any(len(shape) != 2 for shape in shapes.values()):
        raise AdapterFault("weights", f"have half of a LoRA for {module[:80]!r}", "save the adapter anew")
    if (shapes["A"][0], shapes["B"][1]) != (rank, rank):
        raise AdapterFault("weights", f"have another rank for {module[:80]!r} than the settings", "save it anew")
