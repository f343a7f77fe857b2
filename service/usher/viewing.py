"""Reading what is there: judged, recorded, and judged again before it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from usher.authority import Authority, Grant
from usher.core.evidence import scope_digest
from usher.errors import UserError
from usher.ledger.record import Entry, EventType
from usher.ledger.sequencer import Ledger
from usher.retrieve import who

T = TypeVar("T")

ATTEMPTS = 3
"""How often a view is recorded anew because what it shows has changed meanwhile."""


class NotPermitted(UserError):
    """The person may not do this, and may know it."""

    status = 403


class Changing(UserError):
    """What is asked for changes all the time."""

    status = 409


class Viewing:
    """The three steps that every reading of something found goes through."""

    def __init__(self, authority: Authority, ledger: Ledger) -> None:
        self._authority = authority
        self._ledger = ledger

    async def recorded(
        self,
        grant: Grant,
        what: str,
        look: Callable[[Grant], Awaitable[T]],
        entry: Callable[[Grant, T], tuple[EventType, dict[str, Any]]],
    ) -> T:
        """What `look` finds; `entry` says of it what the record will.

        1. the credential is judged, and what it may see looked up
        2. what was found is durable in the record
        3. the credential is judged again; where anything has changed, the same must be found again, or it is recorded
           anew

        Raises `Changing`, naming `what`; `LedgerUnavailable`; and what `look` raises.
        """
        for _ in range(ATTEMPTS):
            grant = await self._authority.again(grant)
            found = await look(grant)
            by = who(grant, await self._ledger.pseudonym(grant.credential.user))
            kind, body = entry(grant, found)
            await self._ledger.append([Entry(kind, who=by, body=body)])
            now = await self._authority.again(grant)
            if now is grant or await look(now) == found:
                return found
        raise Changing(what, "is changing all the time", "ask again in a while")


def view_body(grant: Grant, **shown: object) -> dict[str, Any]:
    """What a view is recorded as: by which credential, under which policy, labels and scope, and what was shown."""
    scope = grant.scope
    return {
        "credential_id": grant.credential.id,
        "policy_version": scope.policy_version,
        "label_version": scope.label_version,
        "scope_digest": scope_digest(scope.classes),
        **shown,
    }
