"""Role links as a graph: cycles, and chains that are too long for Casbin to follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

MAX_LINKS: Final = 9
"""Casbin's role manager looks at ten levels, the subject's own included, and silently at no more."""


@dataclass(frozen=True, slots=True)
class Link:
    """A `g` line: `member` has `role`."""

    member: str
    role: str
    line: int


def link_findings(links: Sequence[Link]) -> Iterator[tuple[int, str, str]]:
    """Line, message and remedy for each cycle and each chain from a member that is longer than `MAX_LINKS`."""
    above: dict[str, list[Link]] = defaultdict(list)
    for link in links:
        above[link.member].append(link)
    order, closing = _walk(above)
    for link in closing:
        message = f"{link.member} and {link.role} inherit from each other in a circle"
        yield link.line, message, "delete one link of the circle"
    if not closing:
        yield from _long_chains(above, order)


def _walk(above: dict[str, list[Link]]) -> tuple[list[str], list[Link]]:
    """Members in an order where each comes after its roles, and the links that close a cycle (depth first, Tarjan)."""
    order: list[str] = []
    closing: list[Link] = []
    open_: set[str] = set()
    done: set[str] = set()
    for start in list(above):
        stack = [] if start in done else [(start, iter(above[start]))]
        open_.update(name for name, _ in stack)
        while stack:
            name, rest = stack[-1]
            link = next(rest, None)
            if link is None:
                stack.pop()
                open_.discard(name)
                done.add(name)
                order.append(name)
            elif link.role in open_:
                closing.append(link)
            elif link.role not in done:
                open_.add(link.role)
                stack.append((link.role, iter(above.get(link.role, ()))))
    return order, closing


def _long_chains(above: dict[str, list[Link]], order: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    length: dict[str, int] = {}
    for name in order:
        length[name] = max((1 + length[link.role] for link in above.get(name, ())), default=0)
        allowed = MAX_LINKS - name.startswith("group:")
        over = [link for link in above.get(name, ()) if length[link.role] + 1 > allowed]
        if over and (length[name] == allowed + 1 or not name.startswith("role:")):
            message = f"{name} begins a chain of {length[name]} role links, beyond the {allowed} that are followed"
            yield over[0].line, message, "give the role more directly; rules on roles beyond would be ignored"
