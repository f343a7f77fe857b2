"""Casbin itself, over the same rules and catalog: what the snapshot must agree with.

It is slow (it looks at every rule) and its role manager remembers every name that it was ever asked about, so build
one for a batch of questions and let it go. Of the library's traps this file avoids: role links are built without a
matching function (quadratic), collection links are the transitive closure (depth is cut at ten levels without a
word), rows go in without a file between (its reader splits at brackets, too), and the policy is loaded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any

from usher_policy.catalog import Catalog, restricts
from usher_policy.conditions import ALWAYS, Context, evaluate
from usher_policy.rules import Permission, Rules
from usher_policy.vocabulary import Action, Effect, Principal, ancestors


def model_text() -> str:
    """The Casbin model that every policy is compiled for."""
    return (files("usher_policy") / "model.conf").read_text(encoding="utf-8")


class Oracle:
    """Casbin's `enforce()` with an edge from each principal's user to each of their groups.

    Raises ValueError for two principals with one user and different groups: Casbin could not tell them apart.
    """

    def __init__(self, rules: Rules, catalog: Catalog, principals: Iterable[Principal]) -> None:
        self._enforcer = _enforcer(rules, catalog)
        self._groups: dict[str, frozenset[str]] = {}
        self._linked: set[str] = set()
        for principal in principals:
            self._admit(principal)

    def enforce(self, principal: Principal, obj: str, action: Action, context: Context) -> bool:
        """Casbin's own answer to one question."""
        self._admit(principal)
        if obj not in self._linked:
            self._linked.add(obj)
            for above in ancestors(obj):
                self._enforcer.get_named_role_manager("g2").add_link(obj, above)
        return bool(self._enforcer.enforce(principal.user, obj, str(action), context))

    def readable(self, principal: Principal, names: frozenset[str], context: Context) -> bool:
        """Whether a document with these requirements is readable: each of them is, and there is one."""
        return restricts(names) and all(
            self.enforce(principal, name, Action.DOCUMENT_READ, context) for name in sorted(names)
        )

    def _admit(self, principal: Principal) -> None:
        known = self._groups.setdefault(principal.user, principal.groups)
        if known != principal.groups:
            raise ValueError("one user with two sets of groups; build an oracle for each")
        manager = self._enforcer.get_named_role_manager("g")
        for group in principal.groups:
            manager.add_link(principal.user, group)


def _enforcer(rules: Rules, catalog: Catalog) -> Any:
    import casbin  # type: ignore[import-untyped]  # it ships no types; imported here because it takes 0.1 s

    model = casbin.Model()
    model.load_model_from_text(model_text())
    for rule in (*rules.permissions, *_derived(catalog)):
        model["p"]["p"].policy.append([rule.sub, rule.obj, str(rule.act), str(rule.eft), rule.cond])
    for link in rules.links:
        model["g"]["g"].policy.append([link.member, link.role])
    enforcer = casbin.Enforcer(model)
    for manager in enforcer.rm_map.values():
        manager.matching_func = None
    enforcer.build_role_links()
    enforcer.add_function("cond", _cond)
    return enforcer


def _derived(catalog: Catalog) -> Iterator[Permission]:
    """Reader lists as rules: each reader may read what the list is on."""
    for name, subjects in catalog.readers.items():
        for subject in subjects:
            yield Permission(subject, name, Action.DOCUMENT_READ, Effect.ALLOW, ALWAYS)


def _cond(cond: str, eft: str, context: Context) -> bool:
    return evaluate(cond, Effect(eft), context).holds
