"""What a model server has to load and to unload, so that it has what is published. Values and decisions only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Steps:
    """`unload` before `load`: a server may have no room for both. `ready` are those that it has as they should be;
    `leaving` those that it keeps for answers which still run; `spoiled` those that it has from somewhere else than
    where they lie, under a name that is ours."""

    load: tuple[str, ...]
    unload: tuple[str, ...]
    ready: frozenset[str]
    leaving: frozenset[str]
    spoiled: frozenset[str]


NOTHING = Steps((), (), frozenset(), frozenset(), frozenset())


def steps(
    published: Mapping[str, str], has: Mapping[str, str], drained: Collection[str], stopped: Collection[str]
) -> Steps:
    """From what is published to what the server has, each a name with its path.

    What is no longer published leaves once it is `drained`, at once where it was `stopped`: quarantined, or never
    registered at all. A spoiled one leaves at once and is not loaded again: its name has meant other weights here, and
    what the server has computed with them lies in its cache under that name.
    """
    spoiled = frozenset(name for name, path in has.items() if name in published and published[name] != path)
    over = [name for name in has if name not in published]
    gone = [name for name in over if name in stopped or name in drained]
    return Steps(
        load=tuple(sorted(name for name in published if name not in has and name not in spoiled)),
        unload=tuple(sorted([*gone, *spoiled])),
        ready=frozenset(name for name in published if name in has) - spoiled,
        leaving=frozenset(over) - set(gone),
        spoiled=spoiled,
    )


def everywhere(ready: Collection[frozenset[str]]) -> frozenset[str]:
    """The adapters that every one of these servers has: a request may reach any of them. None where there is none."""
    return frozenset.intersection(*ready) if ready else frozenset()
