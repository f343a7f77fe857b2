"""The YAML documents beside a rule file, as values. An absent document means its default."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import yaml

from usher.core.retention import Retention
from usher.core.retention_yaml import BadRetention, parse_rules
from usher.core.routing import Routing
from usher.core.routing_yaml import parse_rules as parse_routing
from usher_lora.gates import Bounds
from usher_lora.gates_yaml import parse_gates
from usher_lora.yaml_nodes import BadYaml, compose, is_null, refuse, text_of

KNOWN = ("routing.yaml", "gates.yaml", "retention.yaml", "links.yaml")
_RETENTION = "retention.yaml"

T = TypeVar("T")
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")


class PolicyDocumentError(ValueError):
    """A policy document cannot be used; `name` is the file, `line` counts from 1 (0: the file as a whole)."""

    def __init__(self, name: str, line: int, problem: str, remedy: str) -> None:
        super().__init__(f"{name}: {problem}; {remedy}")
        self.name, self.line, self.problem, self.remedy = name, line, problem, remedy


@dataclass(frozen=True, slots=True)
class PolicyDocuments:
    """`link_hosts`: the hosts that links in answers may lead to (`links.yaml`; default none). `retention`: how long
    content is kept (`retention.yaml`; default for ever). `routing`: which road answers (`routing.yaml`; default
    retrieval). `gates`: what an adapter must keep to be used (`gates.yaml`; the default is strict)."""

    link_hosts: frozenset[str] = frozenset()
    retention: Retention = field(default_factory=Retention)
    routing: Routing = field(default_factory=Routing)
    gates: Bounds = field(default_factory=Bounds)

    @property
    def roles(self) -> frozenset[str]:
        """Those that a rule of them is about: who has one decides how long is kept what of theirs, and what answers."""
        kept = {rule.role for rule in chain(*self.retention.sets)}
        answered = {rule.role for rule in chain(*self.routing.sets)}
        return frozenset(role for role in kept | answered if role is not None)

    def intersect(self, other: PolicyDocuments) -> PolicyDocuments:
        """What both allow."""
        return PolicyDocuments(
            self.link_hosts & other.link_hosts,
            self.retention & other.retention,
            self.routing & other.routing,
            self.gates & other.gates,
        )


def parse_documents(documents: Mapping[str, str]) -> PolicyDocuments:
    """Raises `PolicyDocumentError` for a file that is unknown, not YAML, or not of its form."""
    for name in documents:
        if name not in KNOWN:
            raise PolicyDocumentError(name, 0, "is not a policy document", "use one of " + ", ".join(KNOWN))
    return PolicyDocuments(
        _read(_link_hosts, documents, "links.yaml"),
        _retention(documents.get(_RETENTION, "")),
        Routing((_read(parse_routing, documents, "routing.yaml"),)),
        _read(parse_gates, documents, "gates.yaml"),
    )


def _read(parse: Callable[[str], T], documents: Mapping[str, str], name: str) -> T:
    try:
        return parse(documents.get(name, ""))
    except BadYaml as error:
        raise PolicyDocumentError(name, error.line, error.problem, error.remedy) from None


def _retention(text: str) -> Retention:
    try:
        return Retention((parse_rules(text),))
    except BadRetention as error:
        raise PolicyDocumentError(_RETENTION, error.line, error.problem, error.remedy) from None


def _link_hosts(text: str) -> frozenset[str]:
    top = compose(text)
    if isinstance(top, yaml.MappingNode) and [text_of(key) for key, _ in top.value] == ["hosts"]:
        top = top.value[0][1]
    if top is None or is_null(top):
        return frozenset()
    hosts = top.value if isinstance(top, yaml.SequenceNode) else [top]
    for node in hosts:
        if hosts is not top.value or not node.tag.endswith(":str") or not _HOST.fullmatch(text_of(node)):
            refuse(node, "is not a list of host names", "write `hosts: [docs.example.com]`")
    return frozenset(map(text_of, hosts))
