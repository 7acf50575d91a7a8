"""Stores consent decisions, shows everything stored about a user, and erases users."""

from muster.api.app import lambda_handler_for
from muster.api.routing import Route, Routes
from muster.platform.errors import SessionBelongsToAnotherUser

ROUTES = Routes(
    "Privacy",
    [
        Route(
            "PUT",
            "/v1/consent",
            "put_consent",
            "Store a consent decision",
            read="muster.privacy.consent:parse_decision",
            body="muster.privacy.consent:DecisionIn",
            answers="muster.privacy.consent:Decision",
            errors=(SessionBelongsToAnotherUser,),
        ),
        Route(
            "GET",
            "/v1/consent",
            "get_consent",
            "The current consent of a user or a session",
            read="muster.privacy.consent:parse_consent_request",
            query="muster.privacy.consent:ConsentRequest",
            answers="muster.privacy.consent:Consent",
        ),
        Route(
            "GET",
            "/v1/subjects/{userId+}",
            "get_subject",
            "A page of everything stored about a user",
            read="muster.privacy.subjects:parse_subject_request",
            query="muster.privacy.subjects:SubjectQuery",
            answers="muster.privacy.subjects:Subject",
        ),
        Route(
            "DELETE",
            "/v1/subjects/{userId+}",
            "erase_subject",
            "Erase a user",
            read="muster.http.params:text_in_path",
            answers="muster.privacy.subjects:Receipt",
        ),
    ],
)

lambda_handler = lambda_handler_for(ROUTES)
