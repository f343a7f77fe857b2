"""Adapter folders for tests: a sound one, and ways to spoil it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import save

from usher_lora.manifest import CONFIG, WEIGHTS
from usher_lora.peft_config import ServerLimits
from usher_lora.weights import Kind, Member

LIMITS = ServerLimits("tiny-llama", frozenset({"q_proj", "k_proj", "v_proj", "down_proj"}), 16)
SETTINGS: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "peft_version": "0.18.0",
    "base_model_name_or_path": "tiny-llama",
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "layers_pattern": None,
    "loftq_config": {},
    "lora_alpha": 16,
    "lora_dropout": 0.05,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "qalora_group_size": 16,
    "r": 8,
    "rank_pattern": {"layers.1.self_attn.q_proj": 4},
    "alpha_pattern": {},
    "target_modules": ["q_proj", "k_proj"],
    "use_dora": False,
    "use_rslora": True,
}
Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]


def tensor(module: str, half: str) -> str:
    return f"base_model.model.{module}.lora_{half}.weight"


def arrays() -> Arrays:
    drawn, made = np.random.default_rng(1), Arrays()
    for layer in (0, 1):
        for name in ("q_proj", "k_proj"):
            module, rank = f"model.layers.{layer}.self_attn.{name}", 4 if (layer, name) == (1, "q_proj") else 8
            made[tensor(module, "A")] = drawn.normal(size=(rank, 32)).astype(np.float32)
            made[tensor(module, "B")] = drawn.normal(size=(24, rank)).astype(np.float32)
    return made


def weights(values: Arrays | None = None) -> bytes:
    return save(arrays() if values is None else values)


def config(**changes: object) -> bytes:
    return json.dumps(SETTINGS | changes).encode()


def files(**changes: bytes) -> dict[str, bytes]:
    return {CONFIG: changes.get("config", config()), WEIGHTS: changes.get("weights", weights())}


def framed(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def header_of(tensors: Mapping[str, object]) -> bytes:
    return json.dumps(tensors).encode()


def told(start: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape or [(end - start) // 4], "data_offsets": [start, end]}


@dataclass
class MemoryFolder:
    """A folder of bytes, whose members may be told as what they are not."""

    held: dict[str, bytes]
    kinds: dict[str, Kind]

    def members(self) -> Iterator[Member]:
        for name, data in self.held.items():
            yield Member(name, self.kinds.get(name, Kind.FILE), len(data))

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self.held[name])


def folder(held: dict[str, bytes] | None = None, **kinds: Kind) -> MemoryFolder:
    return MemoryFolder(files() if held is None else held, kinds)
