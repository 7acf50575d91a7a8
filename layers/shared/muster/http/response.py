"""One response, as API Gateway takes it in its payload format 2.0."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

import msgspec

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
