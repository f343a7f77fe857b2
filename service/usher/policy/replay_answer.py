"""What a replay of the last exchanges under a draft tells, cut to what its reader may know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from usher.audit.near import Nearness
from usher.core.reach import Reach
from usher.core.redecided import Redecided, Some, by_requirements
from usher.ports.audit_exchanges import Exchange, Showing
from usher_policy.compile import Snapshot


@dataclass(frozen=True, slots=True)
class Progress:
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Differing:
    """An exchange whose answer would be another. `refused`: it would not be answered at all. `lost` are passages that
    it showed, `gained` such that it would be given, by what their documents require; `gone` counts those that are shown
    no more already, whatever becomes of the draft. `user` is given to whoever may identify."""

    audit_id: str
    time: str
    kind: str
    pseudonym: str | None
    refused: bool
    lost: tuple[Some, ...]
    gained: tuple[Some, ...]
    gone: int
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Redone:
    """What a draft would have made of the last exchanges, `against` the policy version that it was compared with.

    `looked_at` counts the exchanges, `unknown` those of people who are not there any more, `unopened` those whose
    question is not kept: what they would gain is not known. They are null for whoever may not know how many there are.
    """

    changeset: str
    digest: str
    against: int
    differing: tuple[Differing, ...]
    losing: int
    gaining: int
    looked_at: int | None
    unknown: int | None
    unopened: int | None


@dataclass(frozen=True, slots=True)
class Again:
    """One exchange decided again; `decided` is None where nobody knows who asked, `gained` where the question is not
    kept: one access class for each passage."""

    exchange: Exchange
    shown: tuple[Showing, ...]
    decided: Redecided | None
    gained: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Far:
    """How far whoever asks may know of documents, and of people by name."""

    reach: Reach
    named: Reach | None


def shown_by(exchange: Exchange) -> tuple[Showing, ...]:
    """What its answer was made of or listed, inherited passages too; not what was only found."""
    return tuple(showing for showing in exchange.shown if showing.in_prompt is not False)


def told(digest: str, changeset: str, again: Sequence[Again], policy: Snapshot, near: Nearness, far: Far) -> Redone:
    """The answer, without names."""
    found = [_differing(one, near, far.reach, policy) for one in again]
    differing = tuple(one for one in found if one is not None)
    every = far.reach.everything
    return Redone(
        changeset=changeset,
        digest=digest,
        against=policy.version,
        differing=differing,
        losing=sum(bool(one.lost) or one.refused for one in differing),
        gaining=sum(bool(one.gained) for one in differing),
        looked_at=len(again) if every else None,
        unknown=sum(one.decided is None for one in again) if every else None,
        unopened=sum(one.gained is None and one.decided is not None for one in again) if every else None,
    )


def _differing(one: Again, near: Nearness, within: Reach, policy: Snapshot) -> Differing | None:
    """What is told of an exchange, as far as it is within reach; None if that is nothing."""
    decided = one.decided
    if decided is None:
        return None
    lost = [one.shown[place].access_class for place in decided.lost if near.passage(one.shown[place])]
    gone = sum(near.passage(one.shown[place]) for place in decided.gone)
    gained = [ident for ident in one.gained or () if within.covers(ident)]
    refused = decided.refused and (within.everything or bool(lost))
    if not (lost or gained or refused):
        return None
    exchange = one.exchange
    return Differing(
        audit_id=exchange.audit_id,
        time=exchange.time,
        kind=exchange.kind,
        pseudonym=exchange.pseudonym,
        refused=refused,
        lost=by_requirements(policy, (ident or 0 for ident in lost)),
        gained=by_requirements(policy, gained),
        gone=gone,
    )
