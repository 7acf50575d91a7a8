"""Creates, updates and shows sessions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from muster.auth.keys import Access, only_project
from muster.db.client import Connection, call
from muster.http.body import read_text
from muster.http.params import uuid_in_path, uuid_of
from muster.http.request import Request
from muster.http.response import WireModel
from muster.ingest.user_agents import browser_family
from muster.platform.errors import InvalidBatch, NotFound
from muster.platform.logging import log
from muster.validation.error_details import convert_model, place_of, time_faults
from muster.validation.json_spans import members
from muster.validation.limits import MAX_INT4, TIME_PATTERN, context_faults, whole
from muster.validation.unstorable import find_unstorable

_Time = Annotated[str, Meta(pattern=whole(TIME_PATTERN))]


class SessionIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A session as sent."""

    user_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    started_at: _Time | None = None
    ended_at: _Time | None = None
    context: dict[str, Any] | None = None
    sequence: Annotated[int, Meta(ge=1, le=MAX_INT4 - 1)] | None = None
    dropped: Annotated[int, Meta(ge=0, le=MAX_INT4)] | None = None


class Session(WireModel):
    """The response to PUT /v1/sessions/{sessionId}."""

    session_id: str
    user_id: str | None
    started_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None
    duration_seconds: float
    events_count: int
    is_active: bool
    created: bool


class KnownSession(Session):
    """The session as a read key gets it. A write key is public, so it does not get the participant type."""

    participant_type: str | None
    """From the latest pilot token that the session or its user has redeemed."""


@dataclass(frozen=True, slots=True)
class SessionUpdate:
    """A change to a session. An unknown session is created."""

    session_id: UUID
    fields: Mapping[str, Any]
    """The fields of SessionIn as sent, by their wire names."""


def parse_session_update(request: Request) -> SessionUpdate:
    """Read a session's change: the id from the path, the fields from the body. An empty body means {}.

    Raises:
        InvalidParameter: the session's id is not a UUID.
        InvalidJson, InvalidBatch: the message names the first invalid field.
    """
    text = read_text(request.body) if request.body.content else "{}"
    session_id = uuid_in_path(request)
    fields = members(text)
    if fields is None:
        raise InvalidBatch("The body must be a JSON object: {} or the session's fields.")
    return session_update(session_id, {name: value for name, (value, _) in fields.items()})


def session_update(session_id: str | UUID, fields: Mapping[str, Any]) -> SessionUpdate:
    """Validate a session's change; `fields` are those of SessionIn, by their wire names.

    Raises:
        InvalidParameter: the session's id is not a UUID.
        InvalidBatch: the message names the first invalid field.
    """
    known_id = uuid_of("sessionId", str(session_id))
    faults = list(find_unstorable(fields, []))
    if faults:
        raise _refused(faults)
    session = convert_model(fields, SessionIn)
    if not isinstance(session, SessionIn):
        raise _refused([session])
    faults = context_faults(session.context, ["context"])
    faults += time_faults(fields, ("startedAt", "endedAt"), [])
    if faults:
        raise _refused(faults)
    return SessionUpdate(known_id, fields)


def put_session(connection: Connection, access: Access, request: SessionUpdate) -> Session:
    """Create or update a session.

    Raises:
        SessionBelongsToAnotherUser: the session already has another user.
        KeyRefused: the key may not write.
    """
    context = dict(request.fields.get("context") or {})
    agent = context.pop("userAgent", None) or access.user_agent
    # Not orjson: a context may hold integers of any length, and PostgreSQL stores them.
    change = json.dumps({**request.fields, "context": context, "browser": browser_family(agent)})
    parameters = {"session_id": request.session_id, "change": change}
    if access.key_hash is None:
        answer = call(connection, "store_session", {**parameters, "project_id": only_project(connection)})
    else:
        answer = call(connection, "put_session", {**parameters, "key_hash": access.key_hash})
    access.raise_if_refused(answer)
    created = answer["created"]
    log("INFO", "session_stored", request_id=access.request_id, session_id=request.session_id, created=created)
    return Session.read(answer)


def get_session(connection: Connection, access: Access, session_id: UUID) -> KnownSession:
    """Get a session.

    Raises:
        NotFound: the project has no such session.
        KeyRefused: the key may not read.
    """
    answer = call(connection, "get_session", {"session_id": session_id, "key_hash": access.key_hash})
    if answer.get("refused") == "not_found":
        raise NotFound("This project has no such session. The session's first batch of events creates it.")
    access.raise_if_refused(answer)
    return KnownSession.read(answer)


def _refused(details: list[Any]) -> InvalidBatch:
    return InvalidBatch(f"Invalid session field '{place_of(details)}': {details[0]['message']}", details=details)
