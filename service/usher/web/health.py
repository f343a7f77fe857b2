"""Health: is the process alive, and can it answer?"""

from __future__ import annotations

from typing import Any

from litestar import Response, Router, get
from litestar.di import NamedDependency

from usher.services import BESIDE, Services
from usher.web.auth import PUBLIC

LONGEST_REASON = 100
"""Characters of a reason that is told to anybody."""


@get("/live", summary="The process is alive")
async def live() -> dict[str, str]:
    """Asks nothing of any part: for restarting a process that hangs."""
    return {"status": "ok"}


@get("/ready", summary="Every part works")
async def ready(services: NamedDependency[Services]) -> Response[dict[str, Any]]:
    """200 when each part that answers need can do its work, else 503, and for each part `ok` or a short reason; the
    operator's status and the log have the whole one."""
    parts = {part: _in_short(state) for part, state in (await services.ready()).items()}
    well = all(state == "ok" for part, state in parts.items() if part not in BESIDE)
    return Response({"status": "ok" if well else "unavailable", "parts": parts}, status_code=200 if well else 503)


def _in_short(state: str) -> str:
    """What anybody may know of a part: the remedy is the operator's, and so is a reason that may name a path."""
    reason = state.partition(";")[0]
    return reason if len(reason) <= LONGEST_REASON and "/" not in reason else "does not work"


router = Router("/health", route_handlers=[live, ready], opt={"access": PUBLIC})
