"""`routing.yaml` as rules. A mistake in it is told with its line: a rule that nobody reads must not look in force."""

from __future__ import annotations

import re
from typing import Final

import yaml

from usher.core.routing import RouteKind, Rule, folded
from usher_lora.yaml_nodes import compose, is_null, items, members, number, refuse, text_of, whole
from usher_policy.vocabulary import KINDS, is_name

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_ADAPTERS: Final = ("adapters", "max_age_days", "max_changed_percent", "otherwise")
"""What only a rule that asks for an adapter can have."""
_KEYS: Final = ("name", "route", "collection", "role", "words", "min_per_day", *_ADAPTERS)
_EXAMPLE: Final = "write `rules:` and below it such as `- {name: help, route: adapter+retrieve, collection: support}`"
MOST_RULES: Final = 200
_MOST_WORDS: Final = 200
_MOST_ADAPTERS: Final = 100


def parse_rules(text: str) -> tuple[Rule, ...]:
    """The rules, in their order; none in an empty text. Raises `usher_lora.yaml_nodes.BadYaml`."""
    root = compose(text)
    if root is None:
        return ()
    given = members(root, ("rules",), _EXAMPLE)
    if "rules" not in given:
        refuse(root, "has no `rules`", _EXAMPLE)
    if is_null(given["rules"]):
        return ()
    nodes = items(given["rules"], "rules", _EXAMPLE)
    if len(nodes) > MOST_RULES:
        refuse(nodes[MOST_RULES], f"there are more than {MOST_RULES} rules", "unite some of them")
    rules = [_rule(node) for node in nodes]
    for number_, rule in enumerate(rules):
        if any(rule.name == other.name for other in rules[:number_]):
            refuse(nodes[number_], f"the name {rule.name} is given twice", "give each rule a name of its own")
    return tuple(rules)


def _rule(node: yaml.Node) -> Rule:
    given = members(node, _KEYS, _EXAMPLE)
    for key in ("name", "route"):
        if key not in given:
            refuse(node, f"a rule has no `{key}`", _EXAMPLE)
    rule = Rule(
        name=_name(given["name"]),
        route=_kind("route", given["route"], tuple(RouteKind)),
        collection=_typed("collection", "coll", given["collection"]) if "collection" in given else None,
        role=_typed("role", "role", given["role"]) if "role" in given else None,
        words=_words(given["words"]) if "words" in given else frozenset(),
        min_per_day=whole(given["min_per_day"], "min_per_day", 1, 1_000_000_000) if "min_per_day" in given else 0,
        adapters=_adapters(given["adapters"]) if "adapters" in given else (),
        max_age_days=whole(given["max_age_days"], "max_age_days", 1, 36_500) if "max_age_days" in given else None,
        max_changed_percent=_percent(given["max_changed_percent"]) if "max_changed_percent" in given else None,
        otherwise=_otherwise(given["otherwise"]) if "otherwise" in given else RouteKind.RETRIEVE,
    )
    if rule.min_per_day and rule.role is None:
        refuse(given["min_per_day"], "`min_per_day` counts a role's questions, and there is no `role`", "name the role")
    needless = [key for key in _ADAPTERS if key in given]
    if needless and rule.route not in (RouteKind.ADAPTER, RouteKind.BOTH):
        refuse(given[needless[0]], f"`{needless[0]}` is about an adapter, and the rule asks for none", "leave it out")
    return rule


def _name(node: yaml.Node) -> str:
    text = text_of(node)
    if not _NAME.fullmatch(text):
        refuse(node, "`name` is no rule's name", "use up to 40 lower-case letters, digits, - and _")
    return text


def _kind(key: str, node: yaml.Node, kinds: tuple[RouteKind, ...]) -> RouteKind:
    text = text_of(node)
    if text not in kinds:
        refuse(node, f"`{key}` is unknown", "use one of " + ", ".join(kinds))
    return RouteKind(text)


def _otherwise(node: yaml.Node) -> RouteKind:
    return _kind("otherwise", node, (RouteKind.RETRIEVE, RouteKind.REFUSE))


def _percent(node: yaml.Node) -> float:
    return number(node, "max_changed_percent", 0, 100)


def _typed(key: str, kind: str, node: yaml.Node) -> str:
    """A typed name, written with its kind or without."""
    text = text_of(node)
    name = text if text.startswith(f"{kind}:") else f"{kind}:{text}"
    of_another = text.partition(":")[0] in KINDS - {kind} and ":" in text
    if of_another or not is_name(name, frozenset({kind})):
        refuse(node, f"`{key}` is no {kind}: name", f"write it as the rules of policy.csv do, such as {kind}:finance")
    return name


def _words(node: yaml.Node) -> frozenset[str]:
    nodes = items(node, "words", "write such as `words: [procedure, checklist]`")
    if not 1 <= len(nodes) <= _MOST_WORDS:
        refuse(node, "`words` has none, or too many", f"give 1 to {_MOST_WORDS}, or leave it out")
    for one in nodes:
        if not re.fullmatch(r"\w{1,80}", folded(text_of(one))):
            refuse(one, "`words` holds what is no single word", "write letters and digits only, one word each")
    return frozenset(folded(text_of(one)) for one in nodes)


def _adapters(node: yaml.Node) -> tuple[str, ...]:
    nodes = items(node, "adapters", "write such as `adapters: [support]`")
    if not 1 <= len(nodes) <= _MOST_ADAPTERS:
        refuse(node, "`adapters` has none, or too many", f"give 1 to {_MOST_ADAPTERS}, or leave it out")
    names = tuple(_typed("adapters", "adapter", one) for one in nodes)
    if len(set(names)) < len(names):
        refuse(node, "`adapters` names one twice", "name each once")
    return names
