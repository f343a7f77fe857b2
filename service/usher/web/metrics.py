"""Figures of the process for a monitoring system, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from litestar import MediaType, Router, get
from litestar.di import NamedDependency

from usher.services import Services
from usher.web.auth import needs
from usher.web.schema import BY_KEY, PROBLEMS
from usher_policy.vocabulary import Action

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


@get("/", responses=PROBLEMS, summary="Figures for a monitoring system", media_type=MediaType.TEXT)
async def figures(services: NamedDependency[Services]) -> str:
    """Counters since the start of the process, in Prometheus' text format. It tells of nobody: there are no labels."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(services))
    return generate_latest(registry).decode()


class _Figures:
    """A collector: read anew for each request, so that nothing counts twice."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        shadow = self._services.policies.shadow.figures
        yield CounterMetricFamily("usher_shadow_asked", "Questions that Casbin answered again.", shadow.asked)
        yield CounterMetricFamily(
            "usher_shadow_dropped", "Decisions that could not be asked of Casbin.", shadow.dropped
        )
        yield CounterMetricFamily("usher_shadow_differed", "Answers of Casbin that differed.", shadow.differed)
        off = "1 while the policy has too many rules for single decisions to be asked again."
        yield GaugeMetricFamily("usher_shadow_off", off, int(shadow.off))


router = Router(
    "/metrics",
    route_handlers=[figures],
    opt={"access": needs(Action.SYSTEM_OPERATE, "sys:system")},
    security=BY_KEY,
)
