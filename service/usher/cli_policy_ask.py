"""What the commands of the policy share: one request as the person of a key, or else as the operator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from usher import cli_road
from usher.cli_output import say
from usher.errors import UserError
from usher.settings import read_settings

if TYPE_CHECKING:
    import httpx

Key = Annotated[
    str | None,
    typer.Option("--key", envvar="USHER_KEY", help="The key to act with; without one, the operator.", show_envvar=True),
]
Own = Annotated[str | None, typer.Option("--key", envvar="USHER_KEY", help="The key to act with.", show_envvar=True)]
Server = Annotated[
    str | None,
    typer.Option(
        envvar="USHER_SERVER",
        help="Ask this server with the key, such as https://usher.example.com; without one, the data folder's.",
        show_envvar=True,
    ),
]
Comment = Annotated[str, typer.Option(help="Why; it is kept sealed, and shown to those who decide.")]
Changeset = Annotated[str, typer.Argument(metavar="CHANGESET", help="Its id, as `usher policy changesets` lists it.")]

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def ask(
    method: str,
    path: str,
    key: str | None,
    body: object = None,
    params: Mapping[str, str] | None = None,
    *,
    base: int | None = None,
    server: str | None = None,
) -> Any:
    """One request below the policy's address, as the person of the key or else as the operator; `base` is the version
    that a change was made from. Raises `Refused`, `UserError`."""
    root = "/operator/policy" if key is None else "/api/policy"
    return requested(method, root + path, key, body, params, base=base, server=server)


def requested(
    method: str,
    path: str,
    key: str | None,
    body: object = None,
    params: Mapping[str, str] | None = None,
    *,
    base: int | None = None,
    server: str | None = None,
) -> Any:
    """As `ask`, at any address."""
    headers = cli_road.headers(key) | ({} if base is None else {"if-match": f'"policy-{base}"'})
    return cli_road.run(_asked(method, path, body, params, headers, server if key else None))


async def _asked(
    method: str,
    path: str,
    body: object,
    params: Mapping[str, str] | None,
    headers: Mapping[str, str],
    server: str | None,
) -> Any:
    import httpx

    async with client(server) as http:
        try:
            content = cli_road.encoded(body)
            response = await http.request(method, path, content=content, params=params, headers=headers)
        except httpx.TransportError as error:
            if server is None:
                raise
            detail = f"{server} does not answer ({type(error).__name__})"
            raise cli_road.Refused({"detail": detail}) from None
    if response.is_error:
        raise cli_road.refused(response.content)
    return response.json()


@asynccontextmanager
async def client(server: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that server, or of the data folder's."""
    import httpx

    if server is None:
        async with cli_road.road(read_settings()) as client:
            yield client
        return
    url = urlsplit(server)
    if url.scheme != "https" and not (url.scheme == "http" and url.hostname in _LOOPBACK):
        raise UserError("server", "is no https:// address", "give one: the key goes there")
    async with httpx.AsyncClient(base_url=server, timeout=httpx.Timeout(None, connect=10)) as client:
        yield client


def tell(shown: Mapping[str, Any], needs_approval: bool) -> None:
    """A changeset as it stands, and the command that comes next."""
    ident, by_operator = shown["id"], shown["by"].startswith("operator:")
    say(f"changeset {ident}: {shown['state']}" + (f" as version {shown['version']}" if shown["version"] else ""))
    if shown["comment"]:
        say(f"why: {shown['comment']}")
    if shown["state"] == "unreviewed":
        say(f"in force until {shown['expires_at']}; to close its review, as somebody else:")
        say(f"  usher policy close-review {ident}")
    elif shown["state"] == "open" and (needs_approval or by_operator) and not shown["approved_by"]:
        who = "as the operator's it always waits for" if by_operator else "it waits for"
        say(f"{who} somebody else, who approves it with:")
        say(f"  usher policy approve {ident} --digest {shown['digest']}")
    elif shown["state"] == "open":
        say("to activate it:")
        say(f"  usher policy activate {ident}")
