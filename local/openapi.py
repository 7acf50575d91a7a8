"""`make openapi`: writes functions/web/openapi.json, the API's description, from the functions' tables of routes."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, get_args

import msgspec

from local import openapi_ingest as ingest
from local.openapi_ingest import TEXT, UUID, Json, ref
from local.paths import PROJECT
from local.routes import route_tables
from muster.api.app import status_of
from muster.api.routing import Route, resolve
from muster.http.body import CONTENT_TYPES
from muster.http.params import Parameter, parameters_of
from muster.http.response import Error
from muster.platform import errors
from muster.platform.errors import MusterError

FILE = PROJECT / "functions" / "web" / "openapi.json"
PATH_PARAMETERS = {"id": UUID, "sessionId": UUID, "eventId": UUID, "userId": TEXT | {"maxLength": 200}, "name": TEXT}
# The errors of every route with a key, of every route that reads the request, and of every route with a body.
KEY_ERRORS = (errors.InvalidKey, errors.KeyNotAllowed, errors.DatabaseUnavailable)
READ_ERRORS = (errors.RequestRefused,)
BODY_ERRORS = (errors.PayloadTooLarge, errors.UnsupportedEncoding)
ERRORS = {
    400: "The request has an invalid value. The error names it.",
    401: "The key is missing, unknown or revoked.",
    403: "The key has the wrong kind, or the project does not allow the origin of the page.",
    404: "The project does not have this resource.",
    409: "The session belongs to another user.",
    410: "The token is expired, revoked or used up.",
    413: "The body exceeds 1 MB as sent, or 4 MB decompressed.",
    415: "The content type or encoding is not supported.",
    429: "Too many requests, or too many unknown tokens. Try again later.",
    503: "The database cannot be reached or did not answer. Send the same request again.",
}
HEADERS = {
    "export_events": {
        "x-next-cursor": {"description": "The cursor of the next page. Absent on the last page.", "schema": TEXT}
    }
}


def describe() -> Json:
    """The description: OpenAPI 3.1."""
    tables = route_tables().values()
    routes = [(table.tag, route) for table in tables for route in table if route.method != "OPTIONS"]
    paths: Json = {}
    for tag, route in routes:
        path = route.path.replace("+}", "}")
        named = [
            {"name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS[name]}
            for name in re.findall(r"{(\w+)}", path)
        ]
        paths.setdefault(path, {"parameters": named} if named else {})[route.method.lower()] = _operation(tag, route)
    models = {model.__name__: model for _, route in routes for model in _models(route)}
    listed = [Error, *(model for name, model in models.items() if name not in ingest.SCHEMAS)]
    _, schemas = msgspec.json.schema_components(listed, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Muster",
            "version": "1",
            "description": "Every event, present and accounted for. 2xx means durably stored, or durably queued.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": table.tag} for table in tables],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer <key>"},
                "basic": {"type": "http", "scheme": "basic", "description": "The key as the user name."},
                "query": {"type": "apiKey", "in": "query", "name": "key", "description": "For beacons."},
            },
            "responses": {
                str(status): {"description": text, "content": {"application/json": {"schema": ref("Error")}}}
                for status, text in ERRORS.items()
            },
            "schemas": dict(sorted((schemas | ingest.SCHEMAS).items())),
        },
    }


def _operation(tag: str, route: Route) -> Json:
    operation: Json = {"operationId": route.operation, "tags": [tag], "summary": route.summary}
    if route.kinds:
        operation["description"] = f"Needs a key of kind {' or '.join(route.kinds)}."
    operation["security"] = [{"bearer": []}, {"basic": []}, {"query": []}] if route.kinds else []
    if route.query is not None:
        operation["parameters"] = [_parameter(each) for each in parameters_of(resolve(route.query))]
    if body := _body(route):
        content = {each: {"schema": ref(body)} for each in CONTENT_TYPES}
        operation["requestBody"] = {"required": not route.is_body_optional, "content": content}
    failures = {int(status_of(error)) for error in _errors(route)}
    refused = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(failures)}
    operation["responses"] = _responses(route) | refused
    return operation


def _parameter(parameter: Parameter) -> Json:
    """A parameter of the query string. `data.<key>` is an object, and each of its members is a parameter."""
    schema, style = dict(TEXT), {}
    if parameter.choices:
        schema = {"enum": list(parameter.choices)}
    elif parameter.kind is uuid.UUID:
        schema = dict(UUID)
    elif parameter.kind is int:
        schema = {"type": "integer", "minimum": parameter.meta.ge, "maximum": parameter.meta.le}
    if parameter.kind is dict:
        schema, style = {"type": "object", "additionalProperties": TEXT}, {"style": "form", "explode": True}
    elif parameter.is_repeated:
        schema, style = {"type": "array", "items": schema}, {"explode": True}
    elif parameter.default is not None:
        schema["default"] = parameter.default
    described = {"name": parameter.name, "in": "query", "description": parameter.meta.description}
    return {**described, "schema": schema, **style}


def _body(route: Route) -> str | None:
    """The name of the body's schema."""
    return resolve(route.body).__name__ if route.body else ingest.BODIES.get(route.operation)


def _responses(route: Route) -> Json:
    if route.handle is not None:
        content = {each: {"schema": TEXT} for each in route.content_types}
        return {"200": {"description": "The file.", "content": content}, "304": {"description": "It has not changed."}}
    meanings = ingest.RESPONSES.get(route.operation, {})
    headers = {"headers": HEADERS[route.operation]} if route.operation in HEADERS else {}
    return {
        str(int(status)): {
            "description": meanings.get(status, HTTPStatus(status).phrase),
            **headers,
            "content": {each: {"schema": _schema(reference)} for each in route.content_types},
        }
        for status, reference in _references(route).items()
    }


def _references(route: Route) -> Mapping[int, str | None]:
    return route.answers if isinstance(route.answers, Mapping) else {route.status: route.answers}


def _schema(reference: str | None) -> Json:
    if reference is None:
        return TEXT
    either = [ref(model.__name__) for model in _members(resolve(reference))]
    return either[0] if len(either) == 1 else {"oneOf": either}


def _members(model: Any) -> tuple[type, ...]:
    """The models of a union, or the model itself."""
    return get_args(model) or (model,)


def _models(route: Route) -> Iterator[type]:
    if route.body is not None:
        yield resolve(route.body)
    for reference in _references(route).values():
        if reference is not None:
            yield from _members(resolve(reference))


def _errors(route: Route) -> tuple[type[MusterError], ...]:
    return (
        *(KEY_ERRORS if route.kinds else ()),
        *(READ_ERRORS if route.read else ()),
        *(BODY_ERRORS if _body(route) else ()),
        *route.errors,
    )


def text() -> str:
    """The file's content."""
    return json.dumps(describe(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Run the command."""
    FILE.write_text(text(), "utf-8")
    routes = sum(len(item) - ("parameters" in item) for item in describe()["paths"].values())
    print(f"Wrote {FILE.relative_to(PROJECT)}: {routes} routes.")


if __name__ == "__main__":
    main()
