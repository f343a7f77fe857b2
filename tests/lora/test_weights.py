"""What may be served: two plain files, plain LoRA, finite numbers; everything else is told and refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from safetensors.numpy import load
from tests.lora import adapters as made
from tests.lora.adapters import LIMITS, SETTINGS, MemoryFolder, arrays, config, files, folder, framed, header_of, told
from tests.lora.made import IDENTITY

from usher_lora.adapter_files import opened
from usher_lora.faults import AdapterFault
from usher_lora.manifest import CONFIG, WEIGHTS, Manifest, bytes_to_sign
from usher_lora.peft_config import ServerLimits
from usher_lora.weights import Kind, changed, digests, inspect

Q0 = "model.layers.0.self_attn.q_proj"


def refused(held: dict[str, bytes], limits: ServerLimits = LIMITS) -> str:
    with pytest.raises(AdapterFault) as fault:
        inspect(folder(held), limits)
    assert fault.value.remedy
    return str(fault.value)


def test_a_sound_adapter_is_read_as_what_it_is() -> None:
    """Its settings, and the digests of its bytes; and that can be said in a manifest."""
    found = inspect(folder(), LIMITS)
    assert (found.peft.rank, found.peft.alpha, found.peft.rslora) == (8, 16.0, True)
    assert found.peft.target_modules == ("k_proj", "q_proj")
    assert found.peft.rank_pattern == (("layers.1.self_attn.q_proj", 4),)
    assert [one.sha256 for one in found.files] == [hashlib.sha256(data).hexdigest() for data in files().values()]
    assert found.files == digests(folder())
    assert changed(folder(), found.files) is None
    bytes_to_sign(Manifest(replace(IDENTITY, files=found.files, peft=found.peft)))


def test_weights_that_differ_are_seen() -> None:
    """By one bit, and by a byte more."""
    told_of = inspect(folder(), LIMITS).files
    flipped = bytearray(files()[WEIGHTS])
    flipped[-1] ^= 1
    for data in (bytes(flipped), files()[WEIGHTS] + b"\0"):
        assert changed(folder(files(weights=data)), told_of) == f"{WEIGHTS} is another file"
    assert "pickle" not in str(changed(folder({CONFIG: b"{}"}), told_of))
    assert changed(folder({CONFIG: b"{}"}), told_of) is not None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("adapter_model.bin", "can run code"),
        ("data.pkl", "can run code"),
        ("tokenizer.json", "no adapter needs"),
        ("README.md", "no adapter needs"),
        (".hidden", "no adapter needs"),
        ("new_embeddings.safetensors", "no adapter needs"),
        ("..", "is a path"),
        ("../adapter_model.safetensors", "is a path"),
        ("a\\b", "is a path"),
        ("adapter_model.safetensors\n", "no adapter needs"),
    ],
)
def test_any_other_name_is_refused(name: str, problem: str) -> None:
    """Whatever it holds: a pickle is not opened to see."""
    assert problem in refused({**files(), name: b"x"})


@pytest.mark.parametrize("kind", [Kind.LINK, Kind.FOLDER, Kind.OTHER])
def test_what_is_no_plain_file_is_refused(kind: Kind) -> None:
    """A link could lead anywhere, a pipe never ends."""
    with pytest.raises(AdapterFault, match="no plain file"):
        inspect(MemoryFolder(files(), {WEIGHTS: kind}), LIMITS)


def test_a_file_that_is_missing_empty_or_a_pickle_by_another_name() -> None:
    """None of them is an adapter."""
    assert "has no adapter_model" in refused({CONFIG: config()})
    assert "empty or too long" in refused(files(weights=b""))
    assert "empty or too long" in refused(files(config=b" " * ((1 << 20) + 1)))
    assert "cannot be" in refused(files(weights=pickle.dumps({"a": 1}, protocol=0) * 9))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "biases"),
        ({"lora_bias": True}, "biases"),
        ({"modules_to_save": ["lm_head"]}, "whole modules"),
        ({"trainable_token_indices": [1]}, "tokens of its own"),
        ({"init_lora_weights": "pissa"}, "changes the base"),
        ({"init_lora_weights": "olora"}, "changes the base"),
        ({"init_lora_weights": "loftq"}, "changes the base"),
        ({"init_lora_weights": ["x"]}, "changes the base"),
        ({"loftq_config": {"bits": 4}}, "LoftQ"),
        ({"layer_replication": [[0, 4]]}, "repeats layers"),
        ({"target_parameters": ["w"]}, "no modules"),
        ({"eva_config": {"rho": 2}}, "'eva_config'"),
        ({"of_the_future": 1}, "'of_the_future'"),
        ({"peft_type": "IA3"}, "not that of a LoRA"),
        ({"task_type": "SEQ_CLS"}, "not that of a LoRA"),
        ({"base_model_name_or_path": "other"}, "another base"),
        ({"base_model_name_or_path": None}, "another base"),
        ({"r": 17}, "limit of 16"),
        ({"r": 0}, "no rank"),
        ({"r": "8"}, "no rank"),
        ({"r": True}, "no rank"),
        ({"rank_pattern": {"layers.1.self_attn.q_proj": 64}}, "limit of 16"),
        ({"rank_pattern": {".*q_proj": 4}}, "expression"),
        ({"rank_pattern": {"layers.1.self_attn.q_proj": 4, "q_proj": 8}}, "twice"),
        ({"rank_pattern": [4]}, "no mapping"),
        ({"alpha_pattern": {"q_proj": 0}}, "no scale"),
        ({"lora_alpha": 10**400}, "no scale"),
        ({"lora_alpha": None}, "no scale"),
        ({"target_modules": ".*proj"}, "no list"),
        ({"target_modules": []}, "no list"),
        ({"target_modules": ["q_proj", "lm_head"]}, "cannot change"),
        ({"target_modules": ["q_proj", "../k_proj"]}, "cannot change"),
        ({"target_modules": ["q_proj"]}, "no target module"),
        ({"target_modules": ["q_proj", "k_proj", "v_proj"]}, "nothing for the target module"),
        ({"rank_pattern": {}}, "another rank"),
        ({"r": 4}, "another rank"),
    ],
)
def test_what_the_server_cannot_serve_is_refused_before_it_is_tried(changes: dict[str, object], problem: str) -> None:
    """In words that say what to train instead."""
    assert problem in refused(files(config=config(**changes)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b"\xff\xfe",
        json.dumps(SETTINGS).replace('"lora_dropout": 0.05', '"lora_dropout": NaN').encode(),
        b'{"use_dora": true, ' + json.dumps(SETTINGS)[1:].encode(),
    ],
)
def test_settings_that_read_in_two_ways_are_refused(data: bytes) -> None:
    """Or in none."""
    assert refused(files(config=data))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_number_that_is_none_is_found_wherever_it_is(wrong: float, kind: type[np.generic]) -> None:
    """One of it makes every answer of the server's batch suspect."""
    values = {name: array.astype(kind) for name, array in arrays().items()}
    values[made.tensor(Q0, "B")][-1, -1] = wrong
    assert "none or infinite" in refused(files(weights=made.weights(values)))


def bfloat16(last: int) -> bytes:
    """The sound adapter in bfloat16, its last number of these bits."""
    at, tensors, data = 0, {}, b""
    for name, array in arrays().items():
        raw = (array.view(np.uint32) >> 16).astype("<u2").tobytes()
        tensors[name] = told(at, at + len(raw), list(array.shape), "BF16")
        at, data = at + len(raw), data + raw
    return framed(header_of(tensors), data[:-2] + last.to_bytes(2, "little"))


def test_bfloat16_is_looked_through_too() -> None:
    """Its kind of number is not numpy's."""
    assert inspect(folder(files(weights=bfloat16(0x7F7F))), LIMITS).peft.rank == 8
    for none in (0x7F80, 0xFF80, 0x7FC0, 0xFFFF):
        assert "none or infinite" in refused(files(weights=bfloat16(none)))


def test_a_large_tensor_is_looked_through_to_its_end() -> None:
    """It is read a few MiB at a time."""
    values = arrays()
    values[made.tensor(Q0, "A")] = np.zeros((8, 300_001), np.float32)
    assert inspect(folder(files(weights=made.weights(values))), LIMITS)
    values[made.tensor(Q0, "A")][-1, -1] = np.nan
    assert "none or infinite" in refused(files(weights=made.weights(values)))


@pytest.mark.parametrize(
    ("name", "array", "problem"),
    [
        ("base_model.model.lm_head.weight", np.zeros((2, 2), np.float32), "no part of a LoRA"),
        ("base_model.model.model.embed_tokens.weight", np.zeros((2, 2), np.float32), "no part of a LoRA"),
        (f"base_model.model.{Q0}.lora_magnitude_vector", np.zeros(2, np.float32), "no part of a LoRA"),
        (f"base_model.model.{Q0}.lora_B.bias", np.zeros(2, np.float32), "no part of a LoRA"),
        (made.tensor("model.layers.0.mlp.down_proj", "A"), np.zeros((8, 4), np.float32), "no target module"),
        (made.tensor("model.layers.2.self_attn.q_proj", "A"), np.zeros((8, 4), np.float32), "half of a LoRA"),
        (made.tensor(Q0, "A"), np.zeros((4, 32), np.float32), "another rank"),
        (made.tensor(Q0, "A"), np.zeros((8, 4, 8), np.float32), "half of a LoRA"),
        (made.tensor(Q0, "A"), np.zeros((8, 32), np.int32), "not of floating point"),
        (made.tensor(Q0, "A"), np.zeros((8, 32), np.float64), "not of floating point"),
    ],
)
def test_tensors_are_those_of_the_settings(name: str, array: made.Array, problem: str) -> None:
    """No head, no embeddings, no magnitudes, no half pairs, no other rank."""
    assert problem in refused(files(weights=made.weights({**arrays(), name: array})))


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_no_bytes_at_all_do_more_than_be_refused(noise: bytes, at: int, byte: int) -> None:
    """Whatever the reader accepts, the reference implementation reads alike."""
    spoiled = bytearray(made.weights())
    spoiled[min(at, len(spoiled) - 1)] = byte
    for data in (noise, framed(noise), bytes(spoiled)):
        try:
            inspect(folder(files(weights=data or b"\0")), LIMITS)
        except AdapterFault:
            continue
        assert load(data).keys() == arrays().keys()


@dataclass
class Growing(MemoryFolder):
    growing: str

    def open(self, name: str) -> io.BytesIO:
        return io.BytesIO(self.held[name] + (b"\0" if name in self.growing else b""))


def test_a_file_that_changes_while_it_is_read_is_refused() -> None:
    """What is hashed is what was looked at."""
    for name in (CONFIG, WEIGHTS):
        with pytest.raises(AdapterFault, match="changed while"):
            inspect(Growing(files(), {}, name), LIMITS)


def written(path: Path) -> Path:
    path.mkdir()
    for name, data in files().items():
        (path / name).write_bytes(data)
    return path


@pytest.mark.slow
def test_a_folder_on_the_disk_is_read_alike(tmp_path: Path) -> None:
    """With the same digests."""
    with opened(written(tmp_path / "a")) as found:
        assert inspect(found, LIMITS) == inspect(folder(), LIMITS)


@pytest.mark.slow
def test_nothing_on_the_disk_is_followed(tmp_path: Path) -> None:
    """Not a link to the weights, not one to the folder, not a pipe, not one that comes after the look."""
    sound, linked, piped = (written(tmp_path / name) for name in ("sound", "linked", "piped"))
    for path in (linked, piped):
        (path / WEIGHTS).unlink()
    (linked / WEIGHTS).symlink_to(sound / WEIGHTS)
    os.mkfifo(piped / WEIGHTS)
    (tmp_path / "folder").symlink_to(sound)
    for path in (linked, piped):
        with opened(path) as found:
            with pytest.raises(AdapterFault, match="no plain file"):
                inspect(found, LIMITS)
            with pytest.raises(AdapterFault):
                found.open(WEIGHTS)
    for path in (tmp_path / "folder", tmp_path / "absent"):
        with pytest.raises(AdapterFault, match="cannot be opened"), opened(path):
            pass
