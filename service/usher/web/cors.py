"""Which web pages may call Usher from a browser: those of the origins in the settings, and no other.

A page sends its person's key itself; a browser attaches nothing of its own, so no credentials are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar.config.cors import CORSConfig
from litestar.types import Message, Scope

from usher.web.openai import CONVERSATION_HEADER
from usher.web.policy_token import HEADER as POLICY_HEADER

_PREFIX = b"access-control-"


def cors(origins: Sequence[str]) -> dict[str, Any]:
    """The app's options for pages of these origins; none where there are no origins."""
    if not origins:
        return {}
    config = CORSConfig(
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "If-Match", CONVERSATION_HEADER, POLICY_HEADER],
        expose_headers=["etag", "retry-after", "x-request-id"],
    )
    return {"cors_config": config, "before_send": [_tell_strangers_nothing]}


async def _tell_strangers_nothing(message: Message, scope: Scope) -> None:
    """The framework tells a page of any origin what those of listed ones may send."""
    if message["type"] != "http.response.start":
        return
    headers = [(name.lower(), value) for name, value in message["headers"]]
    if not any(name == _PREFIX + b"allow-origin" for name, _ in headers):
        headers = [(name, value) for name, value in headers if not name.startswith(_PREFIX)]
    message["headers"] = [*(header for header in headers if header[0] != b"vary"), (b"vary", b"origin")]
