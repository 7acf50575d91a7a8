"""The throttles of the API's routes, as API Gateway has them: a bucket of tokens for each route."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limit:
    """How many requests a route takes."""

    per_second: float
    burst: int
    """At once, on top of nothing before."""


@dataclass(slots=True)
class Throttle:
    """Counts the requests of every route."""

    default: Limit | None
    of_routes: Mapping[str, Limit] = field(default_factory=dict)
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def admits(self, route: str) -> bool:
        """Whether one more request of a route is within its limit; if so it counts."""
        limit = self.of_routes.get(route, self.default)
        if limit is None:
            return True
        now = time.monotonic()
        tokens, before = self._buckets.get(route, (float(limit.burst), now))
        tokens = min(tokens + (now - before) * limit.per_second, limit.burst)
        admitted = tokens >= 1
        self._buckets[route] = (tokens - 1 if admitted else tokens, now)
        return admitted
