"""A response in the payload format 2.0 of API Gateway's HTTP APIs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

import msgspec

from muster.platform.errors import Detail, NotFound

JSON = "application/json"


@dataclass(slots=True)
class Response:
    """A response. The body is text, or bytes in base64."""

    body: str
    status: int = HTTPStatus.OK
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    is_base64: bool = False

    def payload(self, request_id: str) -> dict[str, Any]:
        """The value that the function returns to Lambda."""
        return {
            "statusCode": int(self.status),
            "headers": {"Content-Type": self.content_type, "x-request-id": request_id, **self.headers},
            "body": self.body,
            "isBase64Encoded": self.is_base64,
        }


def json_response(value: Any, status: int = HTTPStatus.OK) -> Response:
    """A JSON response from a model or any other JSON value."""
    return Response(msgspec.json.encode(value).decode(), status)


class WireModel(msgspec.Struct, rename="camel"):
    """A model with camelCase names in JSON and snake_case names in Python."""

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Self:
        """Build the model from the database's JSON, where names are snake_case and times are strings."""
        # Not msgspec.structs.fields, which evaluates all annotations at every call.
        names = zip(cls.__struct_encode_fields__, cls.__struct_fields__, strict=True)
        return msgspec.convert({encoded: answer[name] for encoded, name in names}, cls)


class Failure(WireModel):
    """The error of a failed request, and how to fix it."""

    code: str
    message: str
    request_id: str
    details: Sequence[Detail]


class Error(WireModel):
    """The body of every error response."""

    error: Failure


def error_response(
    request_id: str, status: int, *, code: str, message: str, details: Sequence[Detail] = ()
) -> Response:
    """An error response; `message` says what is wrong and how to fix it."""
    return json_response(
        Error(error=Failure(code=code, message=message, request_id=request_id, details=details)), status
    )


def route_not_found(request_id: str) -> Response:
    """The response to a request that matches no route."""
    message = "This route does not exist. GET /openapi.json lists the routes."
    return error_response(request_id, HTTPStatus.NOT_FOUND, code=NotFound.code, message=message)
