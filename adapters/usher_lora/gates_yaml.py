"""`gates.yaml` as bounds. What it does not set keeps its default; nothing in it can switch a measurement off."""

from __future__ import annotations

from typing import Final

import yaml

from usher_lora.gates import Bounds
from usher_lora.yaml_nodes import compose, is_null, members, number, whole

_EXAMPLE: Final = "write such as `leakage: {auc: 0.5, width: 0.1, canaries: 0}`"
_SECTIONS: Final = ("leakage", "control", "task")

_NUMBERS: Final = {
    ("leakage", "auc"): ("leak_auc", 0.5, 0.7),
    ("leakage", "width"): ("leak_width", 0.01, 0.2),
    ("control", "auc"): ("control_auc", 0.6, 1.0),
    ("task", "over_base"): ("over_base", -1.0, 1.0),
    ("task", "under_retrieval"): ("under_retrieval", 0.0, 1.0),
    ("task", "general_loss"): ("general_loss", 0.0, 1.0),
}
"""Where a bound stands, its name in `Bounds`, and from where to where it can be set. A leak may not be declared none,
nor a control that hardly leaks a control."""
_COUNTS: Final = {
    ("leakage", "canaries"): ("leak_canaries", 0, 10),
    ("control", "canaries"): ("control_canaries", 1, 1000),
}


def parse_gates(text: str) -> Bounds:
    """The bounds; the defaults in an empty text. Raises `usher_lora.yaml_nodes.BadYaml`."""
    root = compose(text)
    if root is None or is_null(root):
        return Bounds()
    given: dict[str, float | int] = {}
    for section, node in members(root, _SECTIONS, _EXAMPLE).items():
        given |= _section(section, node)
    return Bounds(**given)  # type: ignore[arg-type]  # each of the kind that its table says


def _section(section: str, node: yaml.Node) -> dict[str, float | int]:
    keys = tuple(key for place, key in (*_NUMBERS, *_COUNTS) if place == section)
    given: dict[str, float | int] = {}
    for key, value in members(node, keys, _EXAMPLE).items():
        if (section, key) in _COUNTS:
            name, least, most = _COUNTS[section, key]
            given[name] = whole(value, key, least, most)
        else:
            name, low, high = _NUMBERS[section, key]
            given[name] = number(value, key, low, high)
    return given
