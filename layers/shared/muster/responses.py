"""One response, as API Gateway takes it in its payload format 2.0."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

JSON = "application/json"


@dataclass(slots=True)
class Response:
    """A response of text."""

    body: str
    status: int = HTTPStatus.OK
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def payload(self, request_id: str) -> dict[str, Any]:
        """What the function returns to Lambda."""
        return {
            "statusCode": int(self.status),
            "headers": {"Content-Type": self.content_type, "x-request-id": request_id, **self.headers},
            "body": self.body,
            "isBase64Encoded": False,
        }


def json_response(value: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response; models are camelCase in it."""
    return Response(orjson.dumps(value, default=_plain).decode(), status, headers=headers or {})


def _plain(value: Any) -> Any:
    # Asked for by its method, so that who answers without models need not import pydantic.
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} is no JSON value.")
