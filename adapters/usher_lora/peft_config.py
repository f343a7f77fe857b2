"""`adapter_config.json`: what PEFT wrote of an adapter, held against what the model server can serve.

Some of what PEFT can train the server refuses only when it loads it, and some it would serve wrong without a word. So
a setting that is not known to be harmless is refused, the ones of later releases too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from usher_lora.canonical import foreign_json
from usher_lora.faults import AdapterFault
from usher_lora.manifest import Peft

MOST_BYTES: Final = 1 << 20

_MODULE: Final = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_CONFIG: Final = "adapter_config.json"
_KNOWN: Final = frozenset(
    (
        *("peft_type", "task_type", "base_model_name_or_path", "bias", "init_lora_weights", "use_rslora"),
        *("r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules"),
        *("peft_version", "revision", "inference_mode", "lora_dropout", "exclude_modules", "megatron_core"),
        *("layers_to_transform", "layers_pattern", "qalora_group_size"),
    )
)
"""What is read, and what tells only how it was trained or means nothing without a setting that is refused."""
_UNSERVED: Final = {
    "use_dora": ("is DoRA", "train with use_dora=False"),
    "modules_to_save": ("holds whole modules of the model", "train with modules_to_save=None"),
    "trainable_token_indices": ("holds tokens of its own", "train on the tokenizer of the base as it is"),
    "lora_bias": ("has biases", "train with lora_bias=False"),
    "layer_replication": ("repeats layers", "train with layer_replication=None"),
    "loftq_config": ("was begun by LoftQ", "train with init_lora_weights=True"),
    "target_parameters": ("changes parameters that are no modules", "name modules in target_modules"),
    "fan_in_fan_out": ("has its weights turned round", "train on a base with linear layers"),
}
_INITS: Final = (None, True, False, "gaussian")
"""Ways to begin that leave the base as it is. PiSSA, OLoRA, LoftQ, EVA and CorDA change it."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What the model server takes: its base model's id, the modules that can be changed, by their last name, and the
    highest rank."""

    base_model: str
    modules: frozenset[str]
    max_rank: int


def read_config(data: bytes, limits: ServerLimits) -> Peft:
    """The settings of an adapter that can be served. Raises `AdapterFault` with what is in the way."""
    told = foreign_json(data, _CONFIG, "save the adapter anew")
    for key, (problem, remedy) in _UNSERVED.items():
        if told.get(key):
            raise AdapterFault("adapter", problem, remedy)
    if told.get("peft_type") != "LORA" or told.get("task_type") not in (None, "CAUSAL_LM"):
        raise AdapterFault(_CONFIG, "is not that of a LoRA for a language model", "train with LoraConfig")
    if told.get("bias", "none") != "none":
        raise AdapterFault("adapter", "has biases", 'train with bias="none"')
    if told.get("init_lora_weights") not in _INITS:
        raise AdapterFault("adapter", "was begun in a way that changes the base", "train with init_lora_weights=True")
    unknown = sorted(key for key in told.keys() - _KNOWN - _UNSERVED.keys() if told[key])
    if unknown:
        raise AdapterFault(_CONFIG, f"sets {unknown[0][:60]!r}, which is not known to be served", "train without it")
    if told.get("base_model_name_or_path") != limits.base_model:
        raise AdapterFault("adapter", "is for another base model", f"train it on {limits.base_model}")
    return _peft(told, limits)


def _peft(told: Mapping[str, Any], limits: ServerLimits) -> Peft:
    modules = told.get("target_modules")
    if not isinstance(modules, list) or not modules or not all(type(one) is str for one in modules):
        raise AdapterFault("target_modules", "is no list of names", "name each module that the adapter changes")
    foreign = sorted(one for one in modules if not _is_module(one) or one.rpartition(".")[2] not in limits.modules)
    if foreign:
        remedy = "use of " + ", ".join(sorted(limits.modules))
        raise AdapterFault("target_modules", f"has {foreign[0][:60]!r}, which the server cannot change", remedy)
    ranks = _pattern(told, "rank_pattern")
    return Peft(
        rank=_rank("r", told.get("r"), limits),
        alpha=_alpha("lora_alpha", told.get("lora_alpha")),
        target_modules=tuple(sorted(set(modules))),
        rank_pattern=tuple((name, _rank("rank_pattern", value, limits)) for name, value in ranks),
        alpha_pattern=tuple((name, _alpha("alpha_pattern", v)) for name, v in _pattern(told, "alpha_pattern")),
        rslora=bool(told.get("use_rslora")),
    )


def _rank(field: str, value: Any, limits: ServerLimits) -> int:
    if type(value) is not int or value < 1:
        raise AdapterFault(field, "is no rank", "give a whole number above 0")
    if value > limits.max_rank:
        raise AdapterFault(field, f"is above the server's limit of {limits.max_rank}", "train with a lower rank")
    return value


def _alpha(field: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value <= 1e6:
        raise AdapterFault(field, "is no scale", "give a number above 0")
    return float(value)


def _pattern(told: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    """The pairs of a pattern, sorted. PEFT reads its keys as expressions; here they are names of modules."""
    pattern = told.get(key) or {}
    if not isinstance(pattern, dict):
        raise AdapterFault(key, "is no mapping", "give ranks or scales by module")
    for name in pattern:
        if not _is_module(name):
            raise AdapterFault(key, "has an expression in the place of a module's name", "write the names out")
    return sorted(pattern.items())


def _is_module(name: str) -> bool:
    return _MODULE.fullmatch(name) is not None


def ends(module: str) -> list[str]:
    """The names by which a pattern can mean this module, as PEFT has it: the module's own path, or the end of it."""
    parts = module.split(".")
    return [".".join(parts[place:]) for place in range(len(parts))]


class Meaning:
    """What the settings say of modules, whose names may be many."""

    def __init__(self, peft: Peft) -> None:
        self._targets, self._common = frozenset(peft.target_modules), peft.rank
        self._ranks, self._alphas = dict(peft.rank_pattern), dict(peft.alpha_pattern)

    def targets(self, module: str) -> list[str]:
        """The names of target modules that mean this one."""
        return [name for name in ends(module) if name in self._targets]

    def rank(self, module: str) -> int:
        """That of the name in the pattern that means the module, or the common one."""
        return next((self._ranks[name] for name in ends(module) if name in self._ranks), self._common)

    def ambiguous(self, module: str) -> bool:
        """Whether two names of one pattern mean the module: which of them counts depends on who reads the settings."""
        named = ends(module)
        return any(sum(name in pattern for name in named) > 1 for pattern in (self._ranks, self._alphas))
