"""The transport to a model server: responses of every framing, connections that are kept or not, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from usher.backends.http_line import MAX_HEAD, LineTransport

pytestmark = pytest.mark.enable_socket  # to 127.0.0.1 only

Ask = Callable[..., Awaitable[httpx.Response]]
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def served(response: bytes, test: Callable[[Ask], Awaitable[None]], *, then_close: bool = False) -> int:
    """Run `test` against a server that gives `response` to each request; how many connections it had."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(response)
                if then_close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def both() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with httpx.AsyncClient(transport=LineTransport(idle=4, most_idle=4)) as client:

            async def ask(**options: object) -> httpx.Response:
                return await client.get(url, **options)  # type: ignore[arg-type]  # as the test gives them

            async with asyncio.timeout(5):
                await test(ask)
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)

    asyncio.run(both())
    return connections


def test_a_connection_serves_again_after_a_whole_response() -> None:
    """One connection for two requests."""

    async def test(ask: Ask) -> None:
        assert [(await ask()).text for _ in range(2)] == ["hi", "hi"]

    assert served(PLAIN, test) == 1


def test_a_server_that_says_close_is_believed() -> None:
    """A new connection for the next request."""

    async def test(ask: Ask) -> None:
        assert [(await ask()).text for _ in range(2)] == ["hi", "hi"]

    assert served(PLAIN.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), test) == 2


def test_more_than_was_asked_for_makes_a_connection_unfit() -> None:
    """What follows a response could otherwise be read as the answer to somebody else's question."""

    async def test(ask: Ask) -> None:
        assert (await ask()).text == "hi"
        await asyncio.sleep(0.02)
        assert (await ask()).text == "hi"

    assert served(PLAIN + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", test) == 2


def test_an_interim_response_is_passed_over() -> None:
    """The final one is what is given."""

    async def test(ask: Ask) -> None:
        assert (await ask()).status_code == 200

    served(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + PLAIN, test)


def test_a_body_without_a_length_ends_with_its_connection() -> None:
    """As HTTP/1.0 has it."""

    async def test(ask: Ask) -> None:
        assert (await ask()).text == "to the end"

    served(b"HTTP/1.1 200 OK\r\n\r\nto the end", test, then_close=True)


@pytest.mark.parametrize(
    "response",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", b"", b"not HTTP at all\r\n\r\n"],
    ids=["short body", "nothing", "not HTTP"],
)
def test_a_response_that_is_cut_off_or_none_is_an_error(response: bytes) -> None:
    """As httpx names it."""

    async def test(ask: Ask) -> None:
        with pytest.raises(httpx.TransportError):
            await ask()

    served(response, test, then_close=True)


def test_an_endless_head_is_refused() -> None:
    """It is not gathered for ever."""

    async def test(ask: Ask) -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask()

    served(b"HTTP/1.1 200 OK\r\nx: " + b"y" * MAX_HEAD + b"\r\n\r\n", test)


def test_a_header_field_with_a_line_break_is_not_sent() -> None:
    """It would be two."""

    async def test(ask: Ask) -> None:
        with pytest.raises(httpx.LocalProtocolError):
            await ask(headers={"authorization": "Bearer a\r\nx: b"})

    served(PLAIN, test)
