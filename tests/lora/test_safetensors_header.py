"""The header of a safetensors file: read in one way, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lora import adapters as made
from tests.lora.adapters import framed, header_of, told

from usher_lora.faults import AdapterFault
from usher_lora.safetensors_header import Tensor, header_length, read_header

TWO = header_of({"a": told(0, 8), "b": told(8, 16)})


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 7,
        (1 << 63).to_bytes(8, "little") + b"{}",
        (17 << 20).to_bytes(8, "little") + b"{}",
        framed(b"{}"),
        framed(b"[]"),
        framed(b"{" * 10_000),
        framed(b'{"a":1}'),
        framed(TWO, b"\0" * 15),
        framed(TWO, b"\0" * 17),
        framed(header_of({"a": told(0, 8), "b": told(4, 12)}), b"\0" * 12),
        framed(header_of({"a": told(0, 8), "b": told(12, 20)}), b"\0" * 20),
        framed(header_of({"a": told(4, 8)}), b"\0" * 8),
        framed(b'{"a":%b,"a":%b}' % (header_of(told(0, 8)), header_of(told(0, 8, [4], "F16"))), b"\0" * 8),
        framed(header_of({"a": told(0, 8, [3])}), b"\0" * 8),
        framed(header_of({"a": told(0, 8, [1 << 40, 1 << 40])}), b"\0" * 8),
        framed(header_of({"a": told(0, 8, [-1, -2])}), b"\0" * 8),
        framed(header_of({"a": told(0, 8, [True, 2])}), b"\0" * 8),
        framed(header_of({"a": {**told(0, 8), "shape": []}}), b"\0" * 8),
        framed(header_of({"a": {**told(0, 8), "dtype": ["F32"]}}), b"\0" * 8),
        framed(header_of({"a": {**told(0, 8), "data_offsets": [0, 4, 8]}}), b"\0" * 8),
        framed(header_of({"a": {**told(0, 8), "more": 1}}), b"\0" * 8),
        framed(header_of({"a": told(0, 8), "__metadata__": {"x": 1}}), b"\0" * 8),
        framed(b"{%b}" % b",".join(b'"%d":0' % n for n in range(100_001))),
        framed(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,8]}}', b"\0" * 8),
    ],
)
def test_a_header_that_lies_is_refused(data: bytes) -> None:
    """Lengths, offsets that overlap or leave holes, shapes, counts, a name given twice."""
    with pytest.raises(AdapterFault, match="weights"):
        read(data)


def read(data: bytes) -> tuple[Tensor, ...]:
    length = header_length(data[:8], len(data))
    return read_header(data[8 : 8 + length], len(data) - 8 - length)


SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3)
SOUND = st.dictionaries(st.text(max_size=8).filter(lambda name: name != "__metadata__"), SHAPES, min_size=1, max_size=5)


@given(SOUND)
def test_what_is_read_is_what_was_saved(shapes: dict[str, list[int]]) -> None:
    """The tensors of the reference implementation's own files, with their bytes."""
    saved = made.weights({name: np.full(shape, n, np.float32) for n, (name, shape) in enumerate(shapes.items())})
    length = int.from_bytes(saved[:8], "little")
    found = read(saved)
    assert {one.name: list(one.shape) for one in found} == shapes
    for one in found:
        values = np.frombuffer(saved[8 + length + one.start : 8 + length + one.end], "<f4")
        assert (values == list(shapes).index(one.name)).all()
