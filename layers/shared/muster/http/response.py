"""One response, as API Gateway takes it in its payload format 2.0."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

import msgspec

from muster.platform.errors import Detail

JSON = "application/json"


@dataclass(slots=True)
class Response:
    """A response of text, or of bytes as base64."""

    body: str
    status: int = HTTPStatus.OK
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    is_base64: bool = False

    def payload(self, request_id: str) -> dict[str, Any]:
        """What the function returns to Lambda."""
        return {
            "statusCode": int(self.status),
            "headers": {"Content-Type": self.content_type, "x-request-id": request_id, **self.headers},
            "body": self.body,
            "isBase64Encoded": self.is_base64,
        }


def json_response(value: Any, status: int = HTTPStatus.OK) -> Response:
    """A JSON response; models are camelCase in it."""
    return Response(msgspec.json.encode(value).decode(), status)


class WireModel(msgspec.Struct, rename="camel"):
    """A model that is camelCase on the wire and snake_case here."""

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Self:
        """From JSON of the database, whose names are those here and whose times are texts."""
        return msgspec.convert({each.encode_name: answer[each.name] for each in msgspec.structs.fields(cls)}, cls)


class Failure(WireModel):
    """What is wrong with a request, and what to do."""

    code: str
    message: str
    request_id: str
    details: Sequence[Detail]


class Error(WireModel):
    """The body of every response to a request that failed."""

    error: Failure


def error_response(
    request_id: str, status: int, *, code: str, message: str, details: Sequence[Detail] = ()
) -> Response:
    """The response to a request that failed; `message` is a sentence that says what to do."""
    return json_response(
        Error(error=Failure(code=code, message=message, request_id=request_id, details=details)), status
    )
