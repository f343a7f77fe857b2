"""Who is asking, on every route: one guard, one resolver, and a rule that every route must state.

A route says in its own or its router's `opt["access"]` who may call it; `require_access` stops the app from starting
if one says nothing, and the guard denies such a route in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.exceptions import ImproperlyConfiguredException, NotAuthorizedException, PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler
from litestar.routes import ASGIRoute, HTTPRoute, WebSocketRoute
from litestar.types import Scope

from usher.adapters.deciders import MANAGE, manages_any
from usher.audit.reviewers import AUDIT, reach_of
from usher.authority import Grant
from usher.policy.acts import LOOK
from usher.policy.editors import SYSTEM, holds_any
from usher.services import Services
from usher.web.policy_token import HEADER as POLICY_HEADER
from usher.web.policy_token import wait_for_policy
from usher_policy.vocabulary import Action

Connection = ASGIConnection[Any, Any, Any, Any]

UNAUTHORIZED = "A valid API key is needed: send it as `Authorization: Bearer KEY`."
_log = structlog.stdlib.get_logger("usher.auth")


@dataclass(frozen=True, slots=True)
class Access:
    """An access rule. `key`: a valid credential; `action` on `target`: that right too (no target: on `sys:audit` or on
    any collection); `operator`: the socket only. `first_frame`: a WebSocket that is nobody's until its first frame or
    its ticket has proved a credential. `policy`: any right over the policy, on everything or on some of it.
    `adapters`: a right to decide on some adapter."""

    key: bool = False
    operator: bool = False
    first_frame: bool = False
    action: Action | None = None
    others: tuple[Action, ...] = ()
    target: str = ""
    policy: bool = False
    adapters: bool = False


PUBLIC = Access()
KEY = Access(key=True)
"""A valid key; what more it takes, the use case decides and records."""
OPERATOR = Access(operator=True)
POLICY = Access(key=True, policy=True)
"""A valid key whose person may do something with the policy; how far that goes, the use case decides."""
ADAPTERS = Access(key=True, adapters=True)
"""A valid key whose person may decide on some adapter; on which, the use case decides."""
FIRST_FRAME = Access(first_frame=True)
"""As `KEY`, for a WebSocket: browsers open it without headers of the page's own. Pages must be of known origins."""


def needs(action: Action, target: str, *others: Action) -> Access:
    """A valid key whose person may do `action`, or one of the `others`, on `target`, by the policy in force."""
    return Access(key=True, action=action, others=others, target=target)


def needs_somewhere(action: Action) -> Access:
    """A valid key whose person may do `action` with the log, or with what is in it of some collection; how far that
    goes, the use case decides."""
    return Access(key=True, action=action)


async def authorize(connection: Connection, handler: BaseRouteHandler) -> None:
    """The guard of the whole app. A denied request ends here; an admitted one carries its `Grant`."""
    access = handler.opt.get("access")
    if not isinstance(access, Access):
        raise PermissionDeniedException("This address has no access rule.")
    if access.operator and not connection.app.state.get("operator"):
        raise PermissionDeniedException("Only the operator's socket serves this.")
    if access.first_frame:
        _refuse_foreign_page(connection)
    if not access.key:
        return
    grant = await _admitted(connection)
    services: Services = connection.app.state.services
    services.limits.request(grant.credential.user)
    if await wait_for_policy(services, connection.headers.get(POLICY_HEADER)):
        grant = await _admitted(connection)  # under what was waited for
    if access.action is not None and not any(grant.may(other, access.target).allowed for other in access.others):
        _refuse_unless(grant, access.action, access.target)
    if access.policy and not holds_any(grant, LOOK):
        raise PermissionDeniedException(f"Nothing on {SYSTEM} is allowed: {grant.may(LOOK[0], SYSTEM).reason}.")
    if access.adapters and not manages_any(grant):
        raise PermissionDeniedException(f"{MANAGE[0]} is allowed on no adapter, nor is anything else over one.")
    connection.scope["state"]["grant"] = grant


def _refuse_unless(grant: Grant, action: Action, target: str) -> None:
    if not target and not reach_of(grant, action).nothing:
        return
    decision = grant.may(action, target or AUDIT)
    if not decision.allowed:
        raise PermissionDeniedException(f"{action} on {target or AUDIT} is not allowed: {decision.reason}.")


async def _admitted(connection: Connection) -> Grant:
    """The grant of the request's key. Every kind of bad key gets the same answer."""
    services: Services = connection.app.state.services
    scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
    grant = await services.authority.admit(secret.strip()) if scheme.lower() == "bearer" else None
    if (known := await known_only(services, grant)) is None:
        raise NotAuthorizedException(UNAUTHORIZED, headers={"www-authenticate": "Bearer"})
    return known


async def known_only(services: Services, grant: Grant | None) -> Grant | None:
    """A presented credential's grant if it is good. Lines of the log name its person by pseudonym from here on."""
    if grant is None or grant.denied is not None:
        _log.info("authentication_failed", reason="unknown" if grant is None else grant.denied)
        return None
    pseudonym = await services.ledger.pseudonym(grant.credential.user)
    structlog.contextvars.bind_contextvars(principal=pseudonym)
    return grant


def _refuse_foreign_page(connection: Connection) -> None:
    """A browser says which page opens a WebSocket, and does not keep it from any server; other clients say nothing."""
    services: Services = connection.app.state.services
    if not set(connection.headers.getall("origin", [])).issubset(services.settings.origins):
        raise PermissionDeniedException("Pages of this origin may not call Usher: see USHER_ORIGINS.")


def provide_grant(scope: Scope) -> Grant:
    """The dependency `grant`: whoever the guard admitted."""
    grant: Grant = scope["state"]["grant"]
    return grant


def require_access(app: Litestar) -> None:
    """A start-up hook. Raises `ImproperlyConfiguredException` naming each route without an access rule."""
    silent = sorted({f"{path} ({name})" for path, name, access in routes(app) if not isinstance(access, Access)})
    if silent:
        raise ImproperlyConfiguredException("routes without an access rule: " + ", ".join(silent))


def routes(app: Litestar) -> Iterator[tuple[str, str, object]]:
    """(path, handler, access rule) of every route that the app serves, automatic OPTIONS left out."""
    for route in app.routes:
        for handler in _handlers(route):
            automatic = isinstance(route, HTTPRoute) and getattr(handler, "http_methods", None) == {"OPTIONS"}
            if not automatic:
                yield route.path, handler.handler_name, handler.opt.get("access")


def _handlers(route: object) -> list[BaseRouteHandler]:
    if isinstance(route, HTTPRoute):
        return list(route.route_handlers)
    assert isinstance(route, ASGIRoute | WebSocketRoute)  # noqa: S101  # the only other kinds
    return [route.route_handler]
