"""A WebSocket client without a network: it drives the app's ASGI side, and checks every frame that it gets."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from jsonschema import Draft202012Validator
from tests.web.chat_kit import QUESTION
from tests.web.world import World

from usher.web.ws_frames import schema

PATIENCE = 5.0
Frame = dict[str, Any]
LOST = 1006
"""What a client leaves with whose connection breaks."""


@functools.cache
def validator(side: str) -> Draft202012Validator:
    """Of the frames that a `client` or the `server` sends, by the schema that is served."""
    whole = schema()
    Draft202012Validator.check_schema(whole)
    return Draft202012Validator({**whole, "oneOf": whole["$defs"][side]["oneOf"]})


class Closed(Exception):
    """The socket is over: nothing more comes."""


@dataclass
class Client:
    """`closed` is the code that the server closed with; `got` all frames so far. It takes what comes while `reading` is
    set; `one_by_one` clears that after each frame."""

    to_app: asyncio.Queue[Frame] = field(default_factory=asyncio.Queue)
    from_app: asyncio.Queue[Frame] = field(default_factory=asyncio.Queue)
    got: list[Frame] = field(default_factory=list)
    accepted: bool = False
    closed: int | None = None
    reason: str = ""
    reading: asyncio.Event = field(default_factory=asyncio.Event)
    one_by_one: bool = False
    app: asyncio.Task[None] | None = None

    async def app_sends(self, message: Frame) -> None:
        """The server's side of the connection: it takes nothing while the client does not read."""
        if message["type"] == "websocket.close":
            self.closed, self.reason = message["code"], message["reason"]
            self.to_app.put_nowait({"type": "websocket.disconnect", "code": message["code"], "reason": ""})
        else:
            await self.reading.wait()
            if self.one_by_one:
                self.reading.clear()
        self.from_app.put_nowait(message)

    def text(self, text: str) -> None:
        self.to_app.put_nowait({"type": "websocket.receive", "text": text})

    def say(self, type: str, **members: Any) -> None:
        """A frame; it must be one that the schema knows."""
        frame = {"type": type, **members}
        validator("client").validate(frame)
        self.text(json.dumps(frame))

    def ask(self, id: str = "q", question: str | None = QUESTION, **more: Any) -> None:
        self.say("ask", id=id, **({} if question is None else {"question": question}), **more)

    async def next(self) -> Frame:
        """The next frame. Raises `Closed`."""
        async with asyncio.timeout(PATIENCE):
            message = await self.from_app.get()
        if message["type"] == "websocket.close":
            raise Closed(message["code"])
        frame = cast(Frame, json.loads(message["text"]))
        validator("server").validate(frame)
        self.got.append(frame)
        return frame

    async def until(self, *types: str, id: str | None = None) -> Frame:
        """The next frame of one of these types, and of this question."""
        while True:
            frame = await self.next()
            if frame["type"] in types and (id is None or frame["id"] == id):
                return frame

    async def end(self, id: str = "q") -> Frame:
        """The last frame of a question."""
        return await self.until("done", "error", id=id)

    async def over(self) -> int:
        """The code that the socket is closed with, once it is."""
        try:
            while True:
                await self.next()
        except Closed as closed:
            return cast(int, closed.args[0])

    def said(self, id: str = "q") -> str:
        return "".join(frame["text"] for frame in self.got if frame["type"] == "delta" and frame["id"] == id)

    def deltas(self, id: str = "q") -> list[Frame]:
        return [frame for frame in self.got if frame["type"] == "delta" and frame["id"] == id]

    async def leave(self, code: int | None = 1000) -> None:
        """Close (None: without a code), or with 1006 lose the connection, and wait until the server is done with it."""
        message: Frame = {"type": "websocket.disconnect", "code": 1005 if code in (None, 1006) else code}
        self.to_app.put_nowait(message if code == 1006 else message | {"reason": ""})
        await self.done()

    async def done(self) -> None:
        assert self.app is not None
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait({self.app})


@asynccontextmanager
async def connected(world: World, query: str = "", **headers: str) -> AsyncIterator[Client]:
    """A connection, nobody's yet. At the end it is left, and the app must have ended well."""
    client = Client()
    client.reading.set()
    client.to_app.put_nowait({"type": "websocket.connect"})
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/ws/chat",
        "raw_path": b"/ws/chat",
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"usher"), *((name.encode(), value.encode()) for name, value in headers.items())],
        "server": ("usher", 80),
        "client": ("127.0.0.1", 1),
        "subprotocols": [],
        "state": {},
    }
    client.app = asyncio.create_task(cast(Any, world.app)(scope, client.to_app.get, client.app_sends))
    first = await client.from_app.get()
    client.accepted = first["type"] == "websocket.accept"
    if not client.accepted:
        client.from_app.put_nowait(first)
    try:
        yield client
        client.one_by_one = False
        client.reading.set()
        if not client.app.done():
            await client.leave()
    finally:
        client.app.cancel()
        await asyncio.wait({client.app})
    client.app.result()


@asynccontextmanager
async def chatting(world: World, who: str = "bob") -> AsyncIterator[Client]:
    """A connection of somebody, ready."""
    async with connected(world) as client:
        client.say("auth", key=world.keys[who])
        assert (await client.next())["type"] == "ready"
        yield client


def talk(usher: World, what: Callable[[Client], Coroutine[Any, Any, None]], who: str = "bob") -> Client:
    """A client that has done this over a socket of its own."""

    async def work() -> Client:
        async with chatting(usher, who) as client:
            await what(client)
        return client

    return usher.run(work())


async def lost(usher: World, who: str = "bob") -> tuple[Client, str]:
    """A client that lost its connection after the first words; and the answer's audit id."""
    async with chatting(usher, who) as client:
        client.ask()
        route = await client.until("route")
        await client.until("delta")
        await client.leave(LOST)
    return client, route["audit_id"]


async def resumed(usher: World, audit_id: str, after: int = 0, who: str = "bob") -> Client:
    """Another connection that has taken it up again, to its end."""
    async with chatting(usher, who) as client:
        client.say("resume", id="again", audit_id=audit_id, after=after)
        await client.end("again")
    return client


async def ended(usher: World, audit_id: str) -> str:
    """The outcome of an exchange, once it has one."""
    async with asyncio.timeout(5):
        while (event := usher.events(audit_id)[-1])["type"] != "answer":  # noqa: ASYNC110  # it is a file that is watched
            await asyncio.sleep(0.01)
    return str(event["outcome"])
