"""Who performs an act of the operator."""

from __future__ import annotations

import os
from typing import Any

from litestar import Request
from litestar.datastructures import State

from usher.core.standing import Actor

OperatorRequest = Request[Any, Any, State]


def operator_of(request: OperatorRequest) -> Actor:
    """The OS user at the other end of the operator socket, as the kernel tells the listener.

    Where no socket is between (an app called directly), it is this process's user.
    """
    client = request.client
    return Actor("operator", client.host if client and client.host.startswith("uid:") else f"uid:{os.getuid()}")
