"""How single settings are written: each function gives the value in its one form, or raises `ValueError`."""

from __future__ import annotations

import ipaddress
import shlex
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

SHORTEST_TOKEN = 32
"""Characters. `deploy/vllm/guard.py` asks for as many."""


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _http(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    address = urlsplit(url)
    if not address.hostname or "@" in address.netloc or address.query or address.fragment:
        raise ValueError("must be a host, perhaps a port and a path, and no secret: it stands in logs")
    return url.rstrip("/")


def _vectors(url: str) -> str:
    if not url.startswith("unix:"):
        return _http(url)
    if not url.removeprefix("unix:"):
        raise ValueError("no path follows unix:")
    return f"unix:{_absolute(Path(url.removeprefix('unix:')))}"


def _networks(value: str) -> str:
    for part in value.split(","):
        ipaddress.ip_network(part.strip(), strict=False)
    return value


def _origins(value: object) -> object:
    return tuple(_origin(part.strip()) for part in value.split(",")) if isinstance(value, str) else value


def _origin(text: str) -> str:
    """An origin as browsers send it: in lower case, without a default port, a path or anything else."""
    url = urlsplit(text.lower())
    if url.scheme not in ("http", "https") or not url.hostname or "*" in text or not text.isascii():
        raise ValueError("each must be like https://chat.example.com")
    default = {"http": 80, "https": 443}[url.scheme]
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    port = "" if url.port in (None, default) else f":{url.port}"
    if text.lower() not in (f"{url.scheme}://{host}{port}", f"{url.scheme}://{host}:{default}"):
        raise ValueError("each must be a scheme, a host and perhaps a port, and nothing after them")
    return f"{url.scheme}://{host}{port}"


def _database(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("sqlite:", "postgresql:", "postgresql+psycopg:")):
        raise ValueError("must begin with sqlite: or postgresql:")
    return value


def _ledger(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("postgresql:", "postgresql+psycopg:")):
        raise ValueError("must begin with postgresql:")
    return value


def _servers(value: object) -> object:
    return tuple(_server(part.strip()) for part in value.split(",")) if isinstance(value, str) else value


def _server(url: str) -> str:
    return _http(url).removesuffix("/v1")


def _token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if len(text) < SHORTEST_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"must have at least {SHORTEST_TOKEN} characters, printable ASCII without blanks")
    return value


def _sink(value: str) -> str:
    if not value.startswith("|"):
        return str(_absolute(Path(value)))
    if not shlex.split(value[1:]):
        raise ValueError("no command follows the |")
    return value


FilePath = Annotated[Path, AfterValidator(_absolute)]
HttpUrl = Annotated[str, AfterValidator(_http)]
VectorsUrl = Annotated[str, AfterValidator(_vectors)]
Networks = Annotated[str, AfterValidator(_networks)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database)]
LedgerUrl = Annotated[SecretStr, AfterValidator(_ledger)]
Servers = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_servers)]
Token = Annotated[SecretStr, AfterValidator(_token)]
Sink = Annotated[str, AfterValidator(_sink)]
