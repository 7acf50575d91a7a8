"""A function's table of routes.

API Gateway has routed the request to the function by then; which of its few routes it is takes a look into a table.
A framework's resolver costs a cold start 100 ms of CPU for it, half of what it takes to import psycopg and pydantic.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from muster.auth.permissions import PERMISSIONS
from muster.http.request import Request

Route = Callable[[Request], object]
R = TypeVar("R", bound=Route)


class Routes:
    """What answers which method and path; a path's {name} stands for a segment, {name+} for the rest of it."""

    def __init__(self) -> None:
        self._fixed: dict[tuple[str, str], Route] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Route]] = []
        self.verbs: dict[str, str] = {}
        """By route, as the template names it: what it does, by its name in muster.rights.PERMISSIONS."""

    def get(self, path: str) -> Callable[[R], R]:
        """The decorated function answers GET."""
        return self._route("GET", path)

    def put(self, path: str) -> Callable[[R], R]:
        """The decorated function answers PUT."""
        return self._route("PUT", path)

    def post(self, path: str) -> Callable[[R], R]:
        """The decorated function answers POST."""
        return self._route("POST", path)

    def delete(self, path: str) -> Callable[[R], R]:
        """The decorated function answers DELETE."""
        return self._route("DELETE", path)

    def options(self, path: str) -> Callable[[R], R]:
        """The decorated function answers OPTIONS, which browsers ask before they send."""
        return self._route("OPTIONS", path)

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
        """The route with the parameters of a decoded path."""
        if fixed := self._fixed.get((method, path)):
            return fixed, {}
        for of_method, pattern, route in self._patterns:
            if of_method == method and (match := pattern.fullmatch(path)):
                return route, match.groupdict()
        return None

    def _route(self, method: str, path: str) -> Callable[[R], R]:
        def register(route: R) -> R:
            if route.__name__ not in PERMISSIONS:
                raise LookupError(
                    f"{route.__name__} is not in PERMISSIONS of muster/rights.py: say there which keys may do it."
                )
            self.verbs[f"{method} {path.replace('+}', '}')}"] = route.__name__
            if "{" not in path:
                self._fixed[method, path] = route
                return route
            greedy = re.sub(r"\{(\w+)\+\}", r"(?P<\1>.+)", path)
            self._patterns.append(
                (method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", greedy), re.DOTALL), route)
            )
            return route

        return register
