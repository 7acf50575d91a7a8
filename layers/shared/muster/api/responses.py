"""The responses that are more than the JSON of a model."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from muster.http.response import Response

if TYPE_CHECKING:
    from muster.ingest.results import Saved
    from muster.metrics.export import ExportPage


def batch_response(saved: "Saved") -> Response:
    """200 for a batch that is committed, 202 for one that is queued; ingest has written the JSON already."""
    return Response(saved.text, HTTPStatus.OK if saved.result["status"] == "committed" else HTTPStatus.ACCEPTED)


def export_response(page: "ExportPage") -> Response:
    """A part of a file; the header x-next-cursor leads to the next part."""
    headers = {"x-next-cursor": page.next_cursor} if page.next_cursor else {}
    return Response(page.text, content_type=page.content_type, headers=headers)
