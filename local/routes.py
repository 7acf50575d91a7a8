"""Finds the route of a request, as an HTTP API of API Gateway does."""

import re
from collections.abc import Iterable
from functools import cached_property

from local.sam.template import Route

DEFAULT_PATH = "$default"


class RouteTable:
    """The routes of one API, the most specific first."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = sorted((_Pattern(route) for route in routes), key=lambda pattern: pattern.rank)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a decoded path with its path parameters, or None."""
        for pattern in self._routes:
            if pattern.route.method in {method, "ANY"} and (match := pattern.expression.fullmatch(path)):
                return pattern.route, dict(zip(pattern.names, match.groups(), strict=True))
        return None


class _Pattern:
    def __init__(self, route: Route) -> None:
        self.route = route
        self.names = re.findall(r"\{([^}+]+)\+?\}", route.path)

    @cached_property
    def expression(self) -> re.Pattern[str]:
        if self.route.path == DEFAULT_PATH:
            return re.compile(".*", re.DOTALL)
        parts = re.split(r"(\{[^}]+\})", self.route.path)
        return re.compile("".join(_part(part) for part in parts))

    @cached_property
    def rank(self) -> tuple[bool, list[int], bool]:
        """Sorts by: no $default, then fixed before variable before greedy segments, then the method by name."""
        kinds = [2 if part.endswith("+}") else int("{" in part) for part in self.route.path.split("/")]
        return (self.route.path == DEFAULT_PATH, kinds, self.route.method == "ANY")


def _part(part: str) -> str:
    if part.startswith("{"):
        return "(.+)" if part.endswith("+}") else "([^/]+)"
    return re.escape(part)
