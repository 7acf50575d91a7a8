"""Responses that are not just the JSON of a model."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from muster.http.response import Response

if TYPE_CHECKING:
    from muster.ingest.results import BatchResponse
    from muster.metrics.export import ExportPage


def batch_response(response: "BatchResponse") -> Response:
    """200 for a committed batch, 202 for a queued one. Ingest has already serialised the result."""
    return Response(response.text, HTTPStatus.ACCEPTED if response.result["status"] == "queued" else HTTPStatus.OK)


def export_response(page: "ExportPage") -> Response:
    """One page of an export; the header x-next-cursor has the cursor of the next page."""
    headers = {"x-next-cursor": page.next_cursor} if page.next_cursor else {}
    return Response(page.text, content_type=page.content_type, headers=headers)
