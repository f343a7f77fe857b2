"""`/ws/chat`: questions and answers over one WebSocket, and the tickets that open one from a browser."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from litestar import Response, Router, post, websocket
from litestar.di import NamedDependency

from usher.authority import Grant
from usher.services import Services
from usher.tickets import SECONDS
from usher.web import ws_replies as replies
from usher.web.auth import FIRST_FRAME, KEY, known_only
from usher.web.policy_token import HEADER, wait_for_policy
from usher.web.schema import BY_KEY, PROBLEMS
from usher.web.ws_frames import Auth, BadFrame, NotJson, read
from usher.web.ws_line import FAILED, TRY_LATER, UNKNOWN, AnyWebSocket, Line
from usher.web.ws_socket import ChatSocket

AUTH_SECONDS = 10.0
"""How long a socket may stay nobody's."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """For `/ws/chat?ticket=…`: good once, within `expires_in` seconds."""

    ticket: str
    expires_in: int


@websocket("/chat", opt={"access": FIRST_FRAME})
async def chat(socket: AnyWebSocket, services: NamedDependency[Services]) -> None:
    """Frames as `/schema/ws-chat-v1.json` says. The first is `auth`, unless the address has a ticket."""
    await socket.accept()
    line = Line(socket, lambda: None)
    try:
        grant = await known_only(services, await _proved(socket, services))
        if grant is None:
            await line.close(UNKNOWN, "unauthorized", _UNAUTHORIZED)
            return
        if await wait_for_policy(services, socket.headers.get(HEADER)):
            grant = await services.authority.again(grant)
        socket.scope["state"]["grant"] = grant
        await ChatSocket(services, socket, grant).run()
    except Exception as error:
        failed = replies.failure(None, error)
        code = FAILED if failed.retry_after is None else TRY_LATER
        await line.close(code, failed.code, failed.message, failed.retry_after)


_UNAUTHORIZED = "A valid API key is needed, in the first frame, or an unused ticket of the last seconds in the address."


async def _proved(socket: AnyWebSocket, services: Services) -> Grant | None:
    """The grant of the credential that came; None for a wrong one, none in time, and whatever else comes."""
    ticket = socket.query_params.get("ticket")
    if ticket is not None:
        return await services.tickets.redeem(ticket)
    try:
        async with asyncio.timeout(AUTH_SECONDS):
            message: Any = await socket.receive()
        frame = read(message.get("text") or "")
    except (TimeoutError, NotJson, BadFrame):
        return None
    return await services.authority.admit(frame.key) if isinstance(frame, Auth) else None


@post("/", responses=PROBLEMS, summary="A ticket that opens one WebSocket")
async def make_ticket(services: NamedDependency[Services], grant: NamedDependency[Grant]) -> Response[Ticket]:
    """For pages: a browser sends no headers with a WebSocket, and a key does not belong into an address."""
    return Response(
        Ticket(await services.tickets.issue(grant), SECONDS), status_code=201, headers={"cache-control": "no-store"}
    )


sockets = Router("/ws", route_handlers=[chat])
tickets = Router("/api/ws-ticket", route_handlers=[make_ticket], opt={"access": KEY}, security=BY_KEY, tags=["chat"])
