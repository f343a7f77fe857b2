"""YAML read strictly, with the line of each mistake: known keys only, each once, and values of one kind."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NoReturn

import yaml

_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
"""A leading zero would mean an octal number."""
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,9})?")


class BadYaml(ValueError):
    """A text is not of its form. `line` counts from 1 (0: the text as a whole)."""

    def __init__(self, line: int, problem: str, remedy: str) -> None:
        super().__init__(f"line {line}: {problem}; {remedy}")
        self.line, self.problem, self.remedy = line, problem, remedy


def refuse(node: yaml.Node, problem: str, remedy: str) -> NoReturn:
    raise BadYaml(node.start_mark.line + 1, problem, remedy)


def compose(text: str) -> yaml.Node | None:
    """The document's root; None in an empty text. Raises `BadYaml`."""
    try:
        root: yaml.Node | None = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadYaml(mark.line + 1 if mark else 0, "is not YAML", "mend its syntax") from None
    except RecursionError:
        raise BadYaml(0, "is nested too deeply", "write it flat") from None
    return root


def members(node: yaml.Node, known: Collection[str], example: str) -> dict[str, yaml.Node]:
    """The values of a mapping by their keys. Raises `BadYaml` for another key, one given twice, and what is none."""
    if not isinstance(node, yaml.MappingNode):
        refuse(node, "is no mapping", example)
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
        if name not in known:
            refuse(key, f"the key {name[:40]!r} is unknown", "use " + ", ".join(known))
        if name in found:
            refuse(key, f"`{name}` is given twice", "give it once")
        found[name] = value
    return found


def is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")


def items(node: yaml.Node, key: str, example: str) -> Sequence[yaml.Node]:
    """The members of a list. Raises `BadYaml`."""
    if not isinstance(node, yaml.SequenceNode):
        refuse(node, f"`{key}` is no list", example)
    return list(node.value)


def text_of(node: yaml.Node) -> str:
    """A scalar as it is written; empty for anything else."""
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def whole(node: yaml.Node, key: str, low: int, high: int) -> int:
    """A whole number within bounds. Raises `BadYaml`."""
    text = text_of(node)
    if not node.tag.endswith(":int") or not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
        refuse(node, f"`{key}` is no number that it can be", f"give a whole number from {low} to {high}")
    return int(text)


def number(node: yaml.Node, key: str, low: float, high: float) -> float:
    """A number within bounds. Raises `BadYaml`."""
    text = text_of(node)
    plain = node.tag.endswith((":int", ":float")) and _NUMBER.fullmatch(text)
    if not plain or not low <= float(text) <= high:
        refuse(node, f"`{key}` is no number that it can be", f"give a number from {low:g} to {high:g}, such as 0.05")
    return float(text)
