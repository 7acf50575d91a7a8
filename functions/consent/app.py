"""Keeps what people decided, shows them what is stored about them, and erases it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster import topics
from muster.api.app import lambda_handler_for, service
from muster.api.routing import Routes

if TYPE_CHECKING:
    from muster.http.request import Request
    from muster.privacy.consent import Consent, Decision
    from muster.privacy.subjects import Receipt, Subject

routes = Routes()


@routes.put("/v1/consent")
def put_consent(request: Request) -> Decision:
    """Keep a decision."""
    return service(request).put_consent(topics.consent.parse_decision(request))


@routes.get("/v1/consent")
def get_consent(request: Request) -> Consent:
    """The decision that counts for a user or a session."""
    return service(request).get_consent(topics.consent.parse_consent_request(request))


@routes.get("/v1/subjects/{userId+}")
def get_subject(request: Request) -> Subject:
    """A page of everything stored about a user."""
    return service(request).get_subject(topics.subjects.parse_subject_request(request))


@routes.delete("/v1/subjects/{userId+}")
def erase_subject(request: Request) -> Receipt:
    """Erase a user."""
    return service(request).erase_subject(request.path_parameters["userId"])


lambda_handler = lambda_handler_for(routes)
