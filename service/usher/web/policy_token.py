"""The version of the policy as HTTP knows it: an `ETag` that answers carry, `If-Match` of what a change was made from,
and the token of a write, by which whoever has changed the policy is never answered by an older one.
"""

from __future__ import annotations

import re
from typing import Any

from litestar.connection import ASGIConnection

from usher.errors import UserError
from usher.services import Services

HEADER = "x-usher-policy"
"""A request with it is answered under that policy version or a later one."""
PATIENCE = 5.0
"""Seconds that such a request waits for it."""

_TAG = re.compile(r'"policy-(0|[1-9][0-9]{0,8})"')
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")

Connection = ASGIConnection[Any, Any, Any, Any]


class NotYetInForce(UserError):
    """The version that a request waits for is not in force here."""

    status = 503
    retry_after = 1


class MatchMissing(UserError):
    """A change that does not say what it was made from."""

    status = 428


def etag(version: int) -> dict[str, str]:
    """The header of an answer about that version."""
    return {"etag": f'"policy-{version}"'}


def base_of(connection: Connection) -> int:
    """The version that `If-Match` names. Raises `MatchMissing`, or `UserError` for what is none."""
    given = connection.headers.getall("if-match", [])
    if not given:
        raise MatchMissing("If-Match", "is missing", "send the ETag of the version that the change was made from")
    found = _TAG.fullmatch(given[0]) if len(given) == 1 else None
    if found is None:
        raise UserError("If-Match", "is not the ETag of a policy version", 'send it as "policy-N", with the quotes')
    return int(found[1])


async def wait_for_policy(services: Services, given: str | None) -> bool:
    """Return once the version of this token is in force; False where none is given.

    Raises `NotYetInForce` if it is not in time, `UserError` for what is no version.
    """
    if given is None:
        return False
    if _NUMBER.fullmatch(given) is None:
        raise UserError(HEADER, "is not a policy version", "send the policy_version of an answer, such as 7")
    if not await services.authority.reached(int(given), PATIENCE):
        raise NotYetInForce(HEADER, "names a version that is not in force here", "try again in a moment")
    return True


async def newest(services: Services) -> int:
    """The token of a write: whoever waits for this version is judged by all that was activated so far."""
    versions, _ = await services.authority.current()
    return versions.policy
