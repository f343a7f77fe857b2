"""How one request is answered, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class RouteKind(StrEnum):
    """`retrieve`: from passages that the person may read. `refuse`: not at all."""

    RETRIEVE = "retrieve"
    REFUSE = "refuse"


CHAT_NOT_ALLOWED = "chat_not_allowed"
SCOPE_EMPTY = "scope_empty"
TURNS_LEFT_OUT = "earlier_turns_left_out"


@dataclass(frozen=True, slots=True)
class Route:
    """`reasons` are short codes, some with a count (`earlier_turns_left_out:3`); the client sees them."""

    kind: RouteKind
    reasons: tuple[str, ...]


def route(*, may_chat: bool, classes: Sequence[int], dropped_turns: int) -> Route:
    """The route of a request by somebody whose scope has these access classes.

    An empty scope is not refused: it is answered as a search that found nothing, in the same words, so that it tells
    nothing about what exists. `scope_empty` says only what `/api/me` says of the person's own rights.
    """
    if not may_chat:
        return Route(RouteKind.REFUSE, (CHAT_NOT_ALLOWED,))
    reasons = [SCOPE_EMPTY] if not classes else []
    if dropped_turns:
        reasons.append(f"{TURNS_LEFT_OUT}:{dropped_turns}")
    return Route(RouteKind.RETRIEVE, tuple(reasons))
