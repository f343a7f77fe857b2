"""The header of a safetensors file, read with bounds: what a tensor is called, of what kind and shape, and where.

The file is eight bytes of the header's length, the header (JSON), and the tensors' bytes without a hole between them.
What two readers could read in two ways is refused: a name given twice, bytes that belong to no tensor or to two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from usher_lora.canonical import foreign_json
from usher_lora.faults import AdapterFault

LENGTH_BYTES: Final = 8
MOST_HEADER: Final = 16 << 20
MOST_TENSORS: Final = 100_000
MOST_DIMENSION: Final = 1 << 31
WIDTHS: Final = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a number, of the kinds that an adapter's weights have."""

_REMEDY: Final = "save the adapter anew, as safetensors"


@dataclass(frozen=True, slots=True)
class Tensor:
    """`start` and `end` count from the first byte behind the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def header_length(prefix: bytes, file_size: int) -> int:
    """The header's bytes, from the file's first eight. Raises `AdapterFault`."""
    if len(prefix) != LENGTH_BYTES:
        raise AdapterFault("weights", "are cut off before their header", _REMEDY)
    length = int.from_bytes(prefix, "little")
    if not 2 <= length <= MOST_HEADER or length > file_size - LENGTH_BYTES:
        raise AdapterFault("weights", "have a header of a length that cannot be", _REMEDY)
    return length


def read_header(header: bytes, data_bytes: int) -> tuple[Tensor, ...]:
    """The tensors, in the order of their bytes, which are `data_bytes` in all. Raises `AdapterFault`."""
    told = foreign_json(header, "the weights' header", _REMEDY)
    metadata = told.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise AdapterFault("weights", "have metadata that are no texts", _REMEDY)
    if not 1 <= len(told) <= MOST_TENSORS:
        raise AdapterFault("weights", f"have no tensor, or more than {MOST_TENSORS}", _REMEDY)
    tensors = sorted((_tensor(name, value) for name, value in told.items()), key=lambda one: (one.start, one.end))
    at = 0
    for tensor in tensors:
        if tensor.start != at:
            raise AdapterFault("weights", "have tensors that overlap, or bytes between them", _REMEDY)
        at = tensor.end
    if at != data_bytes:
        raise AdapterFault("weights", "are cut off, or have bytes behind the last tensor", _REMEDY)
    return tuple(tensors)


def _tensor(name: str, told: Any) -> Tensor:
    if not isinstance(told, dict) or set(told) != {"dtype", "shape", "data_offsets"}:
        raise AdapterFault("weights", "have a tensor without dtype, shape and data_offsets", _REMEDY)
    dtype, shape, offsets = told["dtype"], told["shape"], told["data_offsets"]
    if not isinstance(dtype, str) or dtype not in WIDTHS:
        remedy = "save the adapter's weights as float32, float16 or bfloat16"
        raise AdapterFault("weights", "have a tensor that is not of floating point", remedy)
    if not _counts(shape, 1, MOST_DIMENSION) or not _counts(offsets, 0, 1 << 62) or len(offsets) != 2:
        raise AdapterFault("weights", "have a tensor with a shape or offsets that cannot be", _REMEDY)
    if offsets[1] - offsets[0] != math.prod(shape) * WIDTHS[dtype]:
        raise AdapterFault("weights", "have a tensor whose bytes are not those of its shape", _REMEDY)
    return Tensor(name, dtype, tuple(shape), offsets[0], offsets[1])


def _counts(value: Any, least: int, most: int) -> bool:
    if not isinstance(value, list) or not 1 <= len(value) <= 8:
        return False
    return all(type(n) is int and least <= n <= most for n in value)
