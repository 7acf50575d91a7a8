"""Stores batches of events."""

from muster.api.app import lambda_handler_for
from muster.api.cors import answer_preflight
from muster.api.routing import Route, Routes

ROUTES = Routes(
    "Ingest",
    [
        Route(
            "POST",
            "/v1/events",
            "save_batch",
            "Store a batch of events",
            read="muster.http.request:body_of",
            answers={200: "muster.ingest.results:BatchResult", 202: "muster.ingest.results:BatchResult"},
            respond="muster.api.responses:batch_response",
            keys_only=True,
        ),
        Route("OPTIONS", "/{proxy+}", "answer_preflight", "CORS preflight", handle=answer_preflight),
    ],
)

lambda_handler = lambda_handler_for(ROUTES)
