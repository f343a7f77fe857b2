"""A recipe: how one adapter is trained, from what, on which base. YAML, read strictly.

Its LoRA settings have PEFT's names, whichever of them somebody writes, and are judged as the registry will judge what
PEFT makes of them: what the model server cannot serve is refused before anything is trained.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from usher_lora.canonical import encode, sha256
from usher_lora.faults import AdapterFault
from usher_lora.manifest import Peft
from usher_lora.peft_config import ServerLimits, read_config
from usher_lora.yaml_nodes import BadYaml, compose, items, members, number, refuse, text_of, whole

MOST_BYTES: Final = 1 << 18
LINEAR: Final = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
"""The linear layers of a block, as most models name them."""

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_TOP: Final = ("name", "base", "training_set", "output", "server", "lora", "training")
_EXAMPLE: Final = "begin with adapters/recipes/default.yaml"
_PRECISIONS: Final = ("auto", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class BaseModel:
    """`model`: its id, as the model server has it. `path`: the folder of its files."""

    model: str
    path: Path


@dataclass(frozen=True, slots=True)
class Training:
    """`epochs` over the training set, or `steps` of the optimiser where that is set; a step has `batch` times
    `accumulate` sequences of at most `length` tokens. `patience`: after so many looks at the held-out part without a
    lower loss it ends early (0: never), one look every `evaluate_every` steps. `warmup`: the share of the steps in
    which the learning rate rises. `precision`: `auto` is bf16 on a GPU that has it, else fp32."""

    epochs: int = 3
    steps: int = 0
    learning_rate: float = 0.0002
    batch: int = 4
    accumulate: int = 4
    length: int = 1024
    packing: bool = True
    gradient_checkpointing: bool = True
    warmup: float = 0.03
    evaluate_every: int = 50
    patience: int = 3
    precision: str = "auto"
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Recipe:
    """`lora` is what PEFT is given, `peft` what the server will see of it; `digest` is over the file's bytes."""

    name: str
    base: BaseModel
    training_set: Path
    output: Path
    limits: ServerLimits
    lora: Mapping[str, Any]
    peft: Peft
    training: Training
    digest: str


def read_recipe(path: Path) -> Recipe:
    """The recipe in this file; its relative paths begin at the file's folder. Raises `AdapterFault`, `BadYaml`."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise AdapterFault("recipe", "cannot be read", "name a YAML file in UTF-8") from None
    if len(data) > MOST_BYTES:
        raise AdapterFault("recipe", "is too long", f"a recipe has at most {MOST_BYTES} bytes")
    return parse_recipe(text, path.parent)


def parse_recipe(text: str, folder: Path) -> Recipe:
    """The recipe in this text. Raises `BadYaml` for what is wrong with a line, `AdapterFault` for LoRA settings that
    cannot be served."""
    root = compose(text)
    if root is None:
        raise BadYaml(0, "is empty", _EXAMPLE)
    found = members(root, _TOP, _EXAMPLE)
    for key in ("name", "base", "training_set", "output"):
        if key not in found:
            refuse(root, f"`{key}` is missing", _EXAMPLE)
    base = _base(found["base"], folder)
    limits = _limits(found.get("server"), base.model)
    lora = _lora(found.get("lora"))
    return Recipe(
        name=_name(found["name"]),
        base=base,
        training_set=_path(found["training_set"], "training_set", folder),
        output=_path(found["output"], "output", folder),
        limits=limits,
        lora=lora,
        peft=served(lora, limits),
        training=_training(found.get("training")),
        digest=sha256(text.encode()),
    )


def served(lora: Mapping[str, Any], limits: ServerLimits) -> Peft:
    """What the model server will see of these settings. Raises `AdapterFault` for what it cannot serve."""
    told = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": limits.base_model}
    for key in told.keys() & lora.keys():
        raise AdapterFault(f"lora.{key}", "is not for a recipe to say", "leave it out: it follows from the rest")
    try:
        return read_config(encode(told | dict(lora)), limits)
    except AdapterFault as fault:
        raise AdapterFault(f"lora: {fault.field}", fault.problem, fault.remedy) from None


def _name(node: yaml.Node) -> str:
    name = text_of(node)
    if not _NAME.fullmatch(name):
        refuse(node, "`name` is no name of an adapter", "use at most 40 of a to z, 0 to 9 and -, no - at an end")
    return name


def _base(node: yaml.Node, folder: Path) -> BaseModel:
    found = members(node, ("model", "path"), "write such as `base: {model: llama, path: models/llama}`")
    for key in ("model", "path"):
        if key not in found:
            refuse(node, f"`base.{key}` is missing", "name the base model's id and the folder of its files")
    model = text_of(found["model"])
    if not 1 <= len(model) <= 300:
        refuse(found["model"], "`base.model` is no id", "give the name under which the model server serves the base")
    return BaseModel(model, _path(found["path"], "base.path", folder))


def _path(node: yaml.Node, key: str, folder: Path) -> Path:
    text = text_of(node)
    if not text or "\0" in text:
        refuse(node, f"`{key}` is no path", "name a file or a folder; a relative one begins at the recipe's folder")
    return folder / text


def _limits(node: yaml.Node | None, model: str) -> ServerLimits:
    found = {} if node is None else members(node, ("max_rank", "modules"), "write such as `server: {max_rank: 16}`")
    highest = whole(found["max_rank"], "server.max_rank", 1, 4096) if "max_rank" in found else 16
    modules = frozenset(LINEAR)
    if "modules" in found:
        modules = frozenset(text_of(one) for one in items(found["modules"], "server.modules", "list their names"))
    return ServerLimits(model, modules, highest)


def _lora(node: yaml.Node | None) -> dict[str, Any]:
    """The settings as values. Any of PEFT's names is taken here, so that a refusal can say what is wrong with it."""
    given: dict[str, Any] = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "bias": "none"}
    given["target_modules"] = list(LINEAR)
    if node is None:
        return given
    if not isinstance(node, yaml.MappingNode):
        refuse(node, "`lora` is no mapping", _EXAMPLE)
    named = {text_of(key) for key, _ in node.value}
    for key, value in members(node, named, _EXAMPLE).items():
        given[key] = _value(value)
    dropout = given["lora_dropout"]
    if type(dropout) not in (int, float) or not 0 <= dropout < 1:
        refuse(node, "`lora_dropout` is no share", "give a number from 0 to below 1, such as 0.05")
    return given


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(one) for one in node.value]
    if isinstance(node, yaml.MappingNode):
        named = {text_of(key) for key, _ in node.value}
        return {key: _value(value) for key, value in members(node, named, _EXAMPLE).items()}
    kind, text = node.tag.rpartition(":")[2], text_of(node)
    if kind == "null":
        return None
    if kind == "bool":
        return _flag(node, "lora")
    if kind == "int":
        return whole(node, "lora", 0, 10**9)
    return number(node, "lora", -1e9, 1e9) if kind == "float" else text


def _flag(node: yaml.Node, key: str) -> bool:
    if text_of(node) not in ("true", "false"):
        refuse(node, f"`{key}` is neither true nor false", "write true or false")
    return text_of(node) == "true"


def _precision(node: yaml.Node, key: str) -> str:
    if text_of(node) not in _PRECISIONS:
        refuse(node, f"`{key}` is none that there is", "use " + ", ".join(_PRECISIONS))
    return text_of(node)


def _between(read: Callable[[yaml.Node, str, Any, Any], Any], low: float, high: float) -> Callable[..., Any]:
    return lambda node, key: read(node, key, low, high)


_TRAINING: Final[Mapping[str, Callable[[yaml.Node, str], Any]]] = {
    "epochs": _between(whole, 1, 1000),
    "steps": _between(whole, 0, 10_000_000),
    "learning_rate": _between(number, 0.0000001, 1),
    "batch": _between(whole, 1, 1024),
    "accumulate": _between(whole, 1, 1024),
    "length": _between(whole, 16, 1 << 20),
    "packing": _flag,
    "gradient_checkpointing": _flag,
    "warmup": _between(number, 0, 0.5),
    "evaluate_every": _between(whole, 1, 1_000_000),
    "patience": _between(whole, 0, 1000),
    "precision": _precision,
    "seed": _between(whole, 0, 2**31 - 1),
}


def _training(node: yaml.Node | None) -> Training:
    found = {} if node is None else members(node, tuple(_TRAINING), _EXAMPLE)
    return Training(**{key: _TRAINING[key](value, f"training.{key}") for key, value in found.items()})
