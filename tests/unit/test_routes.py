"""The references of each route exist and their types match."""

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

import msgspec
import pytest

from local.routes import route_tables
from muster import service
from muster.api.routing import Matcher, Route, Routes, resolve
from muster.auth.permissions import PERMISSIONS
from muster.http.params import parameters_of
from muster.http.request import Request
from muster.http.response import Response
from muster.platform.errors import InvalidParameter, MusterError
from muster.service import AnalyticsService
from tests.support.requests import a_request

ID = "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"
ROUTES = [route for table in route_tables().values() for route in table]
PATH_PARAMETERS = {"eventId": ID, "id": ID, "sessionId": ID, "userId": "ada"}


def each(routes: list[Route]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", routes, ids=lambda route: str(route.key))


def names_for_types() -> dict[str, Any]:
    """The names that service.py imports only for the type checker."""
    (block,) = (node for node in ast.parse(inspect.getsource(service)).body if isinstance(node, ast.If))
    names: dict[str, Any] = {}
    exec(compile(ast.Module(block.body, []), "service.py", "exec"), names)  # noqa: S102 - our own imports
    return names


TYPES = names_for_types()


def hints_of(function: Any) -> dict[str, Any]:
    names = TYPES if function.__module__ == service.__name__ else None
    return get_type_hints(function, localns=names)


def method_of(route: Route) -> Any:
    return getattr(AnalyticsService, route.operation)


def asked(route: Route, query: Mapping[str, Any] | None = None, body: Any = None) -> Request:
    return a_request(query, path={name: PATH_PARAMETERS[name] for name in _names(route)}, body=body)


def _names(route: Route) -> Iterator[str]:
    return (part.strip("{+}") for part in route.path.split("/") if part.startswith("{"))


@each([route for route in ROUTES if route.handle is None])
def test_an_operations_types_match_its_route(route: Route) -> None:
    hints = hints_of(method_of(route))
    returned = hints.pop("return")
    if route.read is None:
        assert hints == {}
    else:
        reader = get_type_hints(resolve(route.read))
        assert reader.pop("return") in hints.values()
        assert list(reader.values()) == [Request]
        assert len(hints) == 1
    if route.respond is not None:
        responder = resolve(route.respond)
        value, response = get_type_hints(responder, localns=TYPES).values()
        assert (value, response) == (returned, Response)
    else:
        assert resolve(str(route.answers)) == returned


@each([route for route in ROUTES if route.handle is not None])
def test_a_route_with_its_own_handler_reads_nothing_and_needs_no_key(route: Route) -> None:
    assert (route.kinds, route.read, route.query, route.body, route.answers, route.respond) == ((), *[None] * 5)


@each([route for route in ROUTES if route.query is not None])
def test_the_query_model_of_a_route_is_what_it_reads(route: Route) -> None:
    names = [one.name if one.kind is not dict else "data.<key>" for one in parameters_of(resolve(str(route.query)))]
    with pytest.raises(InvalidParameter, match=f"The route accepts {', '.join(names)}.$"):
        resolve(str(route.read))(asked(route, {"no_such_parameter": "1"}))


@each([route for route in ROUTES if route.query is not None])
def test_every_parameter_of_a_query_model_has_a_description(route: Route) -> None:
    for parameter in parameters_of(resolve(str(route.query))):
        assert parameter.meta.description, parameter.name


@each([route for route in ROUTES if route.body is not None])
def test_the_body_model_of_a_route_is_what_it_reads(route: Route) -> None:
    fields = [field.encode_name for field in msgspec.structs.fields(resolve(str(route.body)))]

    def unknown_fields(body: dict[str, Any]) -> bool:
        try:
            resolve(str(route.read))(asked(route, body=body))
        except MusterError as error:
            return "This field is unknown" in error.message + json.dumps(error.details)
        return False

    assert not unknown_fields(dict.fromkeys(fields))
    assert unknown_fields({"noSuchField": None})


@each(ROUTES)
def test_every_answer_of_a_route_exists(route: Route) -> None:
    references = [route.answers] if isinstance(route.answers, str) else list((route.answers or {}).values())
    assert all(resolve(reference) for reference in references)
    assert route.summary


def test_every_operation_with_permissions_has_one_route() -> None:
    assert sorted(route.operation for route in ROUTES) == sorted(PERMISSIONS)


def test_a_route_without_permissions_cannot_be_made() -> None:
    with pytest.raises(LookupError, match="not in PERMISSIONS"):
        Route("GET", "/v1/new", "not_in_the_table", "A new route")


def test_the_most_specific_path_is_found_first() -> None:
    paths = ["/v1/users/{id}", "/v1/users/{rest+}", "/v1/users/me", "/v1/users/{id}/events"]
    table = Routes("Tests", [Route("GET", path, "check_health", path) for path in paths])
    found = {
        path: (route.path, parameters)
        for path in ("/v1/users/me", "/v1/users/ada", "/v1/users/ada/events", "/v1/users/a/b/c", "/v1/users/a\nb")
        for route, parameters in [table.find("GET", path) or (table, {})]
        if isinstance(route, Route)
    }
    assert found == {
        "/v1/users/me": ("/v1/users/me", {}),
        "/v1/users/ada": ("/v1/users/{id}", {"id": "ada"}),
        "/v1/users/ada/events": ("/v1/users/{id}/events", {"id": "ada"}),
        "/v1/users/a/b/c": ("/v1/users/{rest+}", {"rest": "a/b/c"}),
        "/v1/users/a\nb": ("/v1/users/{id}", {"id": "a\nb"}),
    }
    assert table.find("POST", "/v1/users/me") is None
    assert table.find("GET", "/v1/users/") is None
    assert Matcher[Route]([]).find("GET", "/") is None
