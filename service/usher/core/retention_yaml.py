"""`retention.yaml` as rules. A mistake in it is told with its line: a rule that nobody reads must not look in force."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from usher.core.retention import MOST_DAYS, Rule, Type
from usher_policy.vocabulary import is_name

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_KEYS = ("name", "type", "collection", "role", "days")
_EXAMPLE = "write `rules:` and below it such as `- {name: chats, type: chat, days: 365}`"


class BadRetention(ValueError):
    """The text is no retention document. `line` counts from 1 (0: the text as a whole)."""

    def __init__(self, line: int, problem: str, remedy: str) -> None:
        super().__init__(f"line {line}: {problem}; {remedy}")
        self.line, self.problem, self.remedy = line, problem, remedy


def parse_rules(text: str) -> tuple[Rule, ...]:
    """The rules, in their order; none in an empty text. Raises `BadRetention`."""
    try:
        top = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadRetention(mark.line + 1 if mark else 0, "is not YAML", "mend its syntax") from None
    except RecursionError:
        raise BadRetention(0, "is nested too deeply", "write it flat") from None
    if top is None:
        return ()
    members = dict(_members(top, ("rules",)))
    listed = members["rules"] if "rules" in members else _refused(top, "has no `rules`", _EXAMPLE)
    if isinstance(listed, yaml.ScalarNode) and listed.tag.endswith(":null"):
        return ()
    if not isinstance(listed, yaml.SequenceNode):
        _refused(listed, "`rules` is no list", _EXAMPLE)
    rules = [_rule(node) for node in listed.value]
    for number, rule in enumerate(rules):
        if any(rule.name == other.name for other in rules[:number]):
            _refused(listed.value[number], f"the name {rule.name} is given twice", "give each rule a name of its own")
    return tuple(rules)


def _rule(node: yaml.Node) -> Rule:
    given = dict(_members(node, _KEYS))
    for key in ("name", "days"):
        if key not in given:
            _refused(node, f"a rule has no `{key}`", _EXAMPLE)
    return Rule(
        name=_name(given["name"]),
        days=_days(given["days"]),
        type=_type(given["type"]) if "type" in given else None,
        collection=_typed("collection", "coll", given["collection"]) if "collection" in given else None,
        role=_typed("role", "role", given["role"]) if "role" in given else None,
    )


def _members(node: yaml.Node, known: tuple[str, ...]) -> Iterator[tuple[str, yaml.Node]]:
    """The keys and values of a mapping that has only known keys, each once."""
    if not isinstance(node, yaml.MappingNode):
        _refused(node, "is no mapping", _EXAMPLE)
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
        if name not in known:
            _refused(key, f"the key {name[:40]!r} is unknown", "use " + ", ".join(known))
        if name in seen:
            _refused(key, f"`{name}` is given twice", "give it once")
        seen.add(name)
        yield name, value


def _name(node: yaml.Node) -> str:
    text = _text(node)
    if not _NAME.fullmatch(text):
        _refused(node, "`name` is no rule's name", "use up to 40 lower-case letters, digits, - and _")
    return text


def _days(node: yaml.Node) -> int:
    text = _text(node)
    if not node.tag.endswith(":int") or not text.isdecimal() or not 1 <= int(text[:9]) <= MOST_DAYS:
        _refused(node, "`days` is no number of days", f"give a whole number from 1 to {MOST_DAYS}")
    return int(text)


def _type(node: yaml.Node) -> Type:
    text = _text(node)
    if text not in set(Type):
        _refused(node, "`type` is unknown", "use one of " + ", ".join(Type) + ", or leave it out for all of them")
    return Type(text)


def _typed(key: str, kind: str, node: yaml.Node) -> str:
    """A typed name, written with its kind or without."""
    text = _text(node)
    name = text if text.startswith(f"{kind}:") else f"{kind}:{text}"
    if not is_name(name, frozenset({kind})):
        _refused(node, f"`{key}` is no {kind}: name", f"write it as the rules of policy.csv do, such as {kind}:finance")
    return name


def _text(node: yaml.Node) -> str:
    return node.value if isinstance(node, yaml.ScalarNode) else ""


def _refused(node: yaml.Node, problem: str, remedy: str) -> yaml.Node:
    raise BadRetention(node.start_mark.line + 1, problem, remedy)
