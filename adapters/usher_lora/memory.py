"""How much memory a training will need, estimated from the base's shapes before anything is loaded.

An estimate, for a model of the usual form (blocks of attention and a gated feed-forward part): what libraries take for
themselves is left out, and a kernel may need less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from usher_lora.faults import AdapterFault
from usher_lora.manifest import Peft
from usher_lora.peft_config import Meaning
from usher_lora.recipe import Training

GIB: Final = 1 << 30
_WEIGHT: Final = ".weight"
_TILE: Final = 512
"""Positions of which the whole vocabulary's scores are held at once."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a base model counts: parameters, blocks, widths."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    key_value: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes: the base's weights, the adapter with gradients and optimiser, what is kept for the backward pass."""

    base: int
    adapter: int
    activations: int

    @property
    def total(self) -> int:
        return self.base + self.adapter + self.activations

    def __str__(self) -> str:
        parts = (("base", self.base), ("adapter and optimiser", self.adapter), ("activations", self.activations))
        told = ", ".join(f"{name} {size / GIB:.2f}" for name, size in parts)
        return f"about {self.total / GIB:.2f} GiB ({told})"


def shape_of(config: Mapping[str, Any], weights: Mapping[str, tuple[int, ...]]) -> Shape:
    """From a base's `config.json` and its tensors' shapes. Raises `AdapterFault` for another kind of model."""
    config = {**config, **(config.get("text_config") or {})}
    hidden, heads = _count(config, "hidden_size"), _count(config, "num_attention_heads")
    layers, vocabulary = _count(config, "num_hidden_layers"), _count(config, "vocab_size")
    head = config.get("head_dim") or hidden // heads
    kv = head * (config.get("num_key_value_heads") or heads)
    parameters = sum(_size(shape) for shape in weights.values())
    return Shape(parameters, layers, hidden, config.get("intermediate_size") or 4 * hidden, kv, vocabulary)


def trained_modules(weights: Mapping[str, tuple[int, ...]], peft: Peft) -> dict[str, int]:
    """The modules that an adapter changes, each with the numbers that it adds. Raises `AdapterFault` for a target
    that the base does not have."""
    found: dict[str, int] = {}
    meaning, unused = Meaning(peft), set(peft.target_modules)
    for name, shape in weights.items():
        module = name.removesuffix(_WEIGHT)
        if len(shape) == 2 and name.endswith(_WEIGHT) and (named := meaning.targets(module)):
            unused.difference_update(named)
            found[module] = meaning.rank(module) * sum(shape)
    if unused:
        problem = f"has {min(unused)[:60]!r}, which the base model does not"
        raise AdapterFault("lora: target_modules", problem, "name linear layers of this base")
    return found


def estimate(shape: Shape, trained: int, training: Training, width: int) -> Memory:
    """`trained`: numbers that the adapter has; `width`: bytes of a number of the base's while training."""
    tokens = training.batch * training.length
    block = width * (8 * shape.hidden + 2 * shape.key_value + 4 * shape.intermediate)
    block += 4 * (6 * shape.hidden + shape.intermediate)  # the adapter's inputs, in fp32
    boundary = width * shape.hidden
    kept = shape.layers * boundary + block if training.gradient_checkpointing else shape.layers * block
    mask = training.batch * training.length**2
    if training.packing:
        mask = tokens**2  # the batch as one row, in which examples do not see one another
    scores = 2 * 4 * min(tokens, _TILE) * shape.vocabulary
    return Memory(shape.parameters * width, trained * 16, tokens * kept + mask * (1 + width) + scores)


def check_memory(needed: Memory, there: int) -> None:
    """Raises `AdapterFault` where it will not do with so many bytes."""
    if needed.total <= there:
        return
    remedy = "lower `batch` or `length`, and switch on `gradient_checkpointing`"
    if needed.base + needed.adapter > there:
        remedy = "train on a machine with more memory, or on a smaller base"
    problem = f"is too little: {there / GIB:.2f} GiB are free, and training takes {needed}"
    raise AdapterFault("memory", problem, remedy)


def _count(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise AdapterFault("base model", f"has a config.json without {key}", "name a causal language model")
    return value


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
