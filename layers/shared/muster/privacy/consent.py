"""Records and shows the consent decisions of users and sessions."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from muster.auth.keys import Access
from muster.db.client import Connection, call
from muster.http.body import read_text
from muster.http.params import QueryModel, read_query
from muster.http.request import Request
from muster.http.response import WireModel
from muster.platform.errors import Detail, InvalidParameter, RequestRefused
from muster.platform.logging import log
from muster.validation.error_details import convert_model, place_of, time_faults
from muster.validation.json_spans import members
from muster.validation.limits import TIME_PATTERN, UUID_PATTERN, whole
from muster.validation.unstorable import find_unstorable

Status = Literal["granted", "denied", "withdrawn"]
# What a client must delete once its user has denied or withdrawn consent.
PURGED = ["queuedEvents", "userId"]


class DecisionIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A decision as sent."""

    status: Status
    user_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    session_id: Annotated[str, Meta(pattern=whole(UUID_PATTERN))] | None = None
    version: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    data_usage_accepted: bool | None = None
    decided_at: Annotated[str, Meta(pattern=whole(TIME_PATTERN))] | None = None


class Consent(WireModel):
    """The decision in force: the latest one."""

    status: Literal["granted", "denied", "withdrawn", "unknown"]
    version: str | None
    decided_at: datetime | None


class Decision(Consent):
    """The decision in force, and what the client must delete because of it."""

    purge: list[str]
    """Empty if consent is granted, else "queuedEvents" and "userId"."""


class ConsentRequest(QueryModel, frozen=True):
    """The parameters of GET /v1/consent: a user or a session."""

    user_id: Annotated[str | None, Meta(description="The user to look up. Send either userId or sessionId.")] = None
    session_id: Annotated[UUID | None, Meta(description="The session to look up.")] = None


def put_consent(connection: Connection, access: Access, request: DecisionIn) -> Decision:
    """Record a decision. The same decision sent twice is recorded once.

    Raises:
        SessionBelongsToAnotherUser: the session belongs to another user than the one sent.
        KeyRefused: the key may not write.
    """
    parameters = {"key_hash": access.key_hash, "decision": msgspec.json.encode(request).decode()}
    answer = call(connection, "put_consent", parameters)
    access.raise_if_refused(answer)
    log("INFO", "consent_stored", request_id=access.request_id, status=request.status)
    return Decision.read({**answer, "purge": [] if answer["status"] == "granted" else PURGED})


def get_consent(connection: Connection, access: Access, request: ConsentRequest) -> Consent:
    """The latest decision of a user or a session.

    Raises:
        KeyRefused: the key is unknown or revoked.
    """
    parameters = {"key_hash": access.key_hash, "user_id": request.user_id, "session_id": request.session_id}
    answer = call(connection, "get_consent", parameters)
    access.raise_if_refused(answer)
    return Consent.read(answer)


def parse_consent_request(request: Request) -> ConsentRequest:
    """Read which user or session to look up.

    Raises:
        InvalidParameter: the query names neither a user nor a session, or both.
    """
    query = read_query(request.query, ConsentRequest)
    if (query.user_id is None) == (query.session_id is None):
        raise InvalidParameter("userId", "Send either userId or sessionId.")
    return query


def parse_decision(request: Request) -> DecisionIn:
    """Read a decision from the body.

    Raises:
        InvalidJson, RequestRefused: the message names the first invalid field.
    """
    fields = members(read_text(request.body))
    if fields is None:
        raise RequestRefused('The body must be a JSON object: {"userId": …, "status": …}.')
    values = {name: value for name, (value, _) in fields.items()}
    faults = list(find_unstorable(values, []))
    if faults:
        raise _refused(faults)
    decision = convert_model(values, DecisionIn)
    if not isinstance(decision, DecisionIn):
        raise _refused([decision])
    faults = time_faults(values, ("decidedAt",), [])
    if decision.user_id is None and decision.session_id is None:
        message = "Send userId, sessionId, or both."
        faults = [Detail(loc=["userId"], type="missing", message=message)]
    if faults:
        raise _refused(faults)
    return decision


def _refused(details: list[Detail]) -> RequestRefused:
    message = f"Invalid consent field '{place_of(details)}': {details[0]['message']}"
    return RequestRefused(message, details=details)
