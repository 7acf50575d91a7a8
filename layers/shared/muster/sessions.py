"""Creates, updates and shows sessions."""

import json
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from muster.auth.keys import Access, only_project
from muster.db.client import Connection, Database, call
from muster.http.body import RawBody, read_text
from muster.http.query_params import uuid_of
from muster.http.response import WireModel
from muster.ingest.user_agents import browser_family
from muster.platform.errors import InvalidBatch, NotFound
from muster.platform.logging import log
from muster.validation.error_details import convert_form, place_of, time_faults
from muster.validation.json_spans import members
from muster.validation.limits import MAX_INT4, TIME_PATTERN, context_faults, whole
from muster.validation.unstorable import find_poison

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
    """A session as answered."""

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
    """A session as shown to who may read: a write key is public, and shall not tell who takes part in a study."""

    participant_type: str | None
    """As what it takes part in a pilot study, by its own latest redemption or its user's."""


def put_request(database: Database, access: Access, session_id: str, body: RawBody) -> Session:
    """Create or update a session from a request's body, none being as good as {}; raises as put_session does."""
    return put_session(database, access, session_id, read_text(body) if body.content else "{}")


def put_session(database: Database, access: Access, session_id: str, text: str) -> Session:
    """Create or update a session from its JSON text.

    Raises:
        InvalidParameter: the session id is no UUID.
        InvalidJson, InvalidBatch: the body is not a session.
        SessionBelongsToAnotherUser: it is known to be another user's.
        KeyRefused: the key may not write.
        DatabaseUnavailable: nothing was changed.
    """
    parameters = {"session_id": uuid_of("sessionId", session_id), "change": _change(text, access.user_agent)}
    answer = database.run(_put, access, parameters)
    access.raise_if_refused(answer)
    log("INFO", "session_stored", request_id=access.request_id, session_id=session_id, created=answer["created"])
    return Session.read(answer)


def get_session(database: Database, access: Access, session_id: str) -> KnownSession:
    """A session of the access's project.

    Raises:
        InvalidParameter: the session id is no UUID.
        NotFound: the project has no such session.
        KeyRefused: the key may not read.
        DatabaseUnavailable: the database did not answer.
    """
    parameters = {"session_id": uuid_of("sessionId", session_id), "key_hash": access.key_hash}
    answer = database.run(call, "show_session", parameters)
    if answer.get("refused") == "not_found":
        raise NotFound("There is no such session in this project; its first batch of events creates it.")
    access.raise_if_refused(answer)
    return KnownSession.read(answer)


def _put(connection: Connection, access: Access, parameters: dict[str, Any]) -> dict[str, Any]:
    if access.key_hash is not None:
        return call(connection, "put_session", {**parameters, "key_hash": access.key_hash})
    return call(connection, "store_session", {**parameters, "project_id": only_project(connection)})


def _change(text: str, user_agent: str) -> str:
    fields = members(text)
    if fields is None:
        raise InvalidBatch("The body is JSON but no object; send {} or the session's fields.")
    values = {name: value for name, (value, _) in fields.items()}
    faults = list(find_poison(values, []))
    if faults:
        raise _refused(faults)
    session = convert_form(values, SessionIn)
    if not isinstance(session, SessionIn):
        raise _refused([session])
    faults = context_faults(session.context, ["context"])
    faults += time_faults(values, ("startedAt", "endedAt"), [])
    if faults:
        raise _refused(faults)
    context = dict(session.context or {})
    agent = context.pop("userAgent", None) or user_agent
    # Not orjson: a context may hold whole numbers of any length, as PostgreSQL does.
    return json.dumps({**values, "context": context, "browser": browser_family(agent)})


def _refused(details: list[Any]) -> InvalidBatch:
    return InvalidBatch(f"The session is refused at '{place_of(details)}': {details[0]['message']}", details=details)
