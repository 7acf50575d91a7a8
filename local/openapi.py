"""`make openapi`: writes functions/web/openapi.json, the API's description, from routes below and our own models.

What a route answers is described by the model that it answers with, so that the two cannot disagree.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from local.sam import PROJECT
from muster.auth.permissions import PERMISSIONS
from muster.diagnostics.delivery import DeliveryReport
from muster.diagnostics.event_trace import Trace
from muster.diagnostics.report import Diagnostics
from muster.metrics.funnel import FunnelIn
from muster.metrics.models import EventPage, Funnel, Metrics, Retention, SessionPage, UserSummary
from muster.metrics.time_ranges import GRANULARITIES, TIMEFRAMES
from muster.pilot.tokens import IssuedTokens, IssueIn, PilotToken, RedeemIn, Redemption, TokenPage
from muster.privacy.consent import Consent, Decision, DecisionIn
from muster.privacy.subjects import Receipt, Subject
from muster.quarantine.rejections import RejectionGroups, RejectionPage, Replay
from muster.quarantine.replay import ReplayIn
from muster.sessions import Session, SessionIn
from muster.validation.limits import TIME_PATTERN, UUID_PATTERN

FILE = PROJECT / "functions" / "web" / "openapi.json"
MODELS = (
    SessionIn, Session, DecisionIn, Consent, Decision, Subject, Receipt, Metrics, EventPage, SessionPage, UserSummary,
    FunnelIn, Funnel, Retention, Diagnostics, Trace, DeliveryReport, RejectionPage, RejectionGroups, ReplayIn, Replay,
    IssueIn, IssuedTokens, TokenPage, PilotToken, RedeemIn, Redemption,
)  # fmt: skip
Json = dict[str, Any]

TEXT: Json = {"type": "string"}
UUID: Json = {"type": "string", "format": "uuid", "pattern": UUID_PATTERN}
TIME: Json = {"type": "string", "format": "date-time", "pattern": TIME_PATTERN}
COUNT: Json = {"type": "integer", "minimum": 0}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: Json, required: Sequence[str] = (), description: str = "", **rest: Any) -> Json:
    told = {"description": description} if description else {}
    listed = {"required": list(required)} if required else {}
    return {"type": "object", **told, "properties": properties, **listed, **rest}


def _parameter(name: str, description: str, schema: Json = TEXT, **rest: Any) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema, **rest}


def _several(name: str, description: str) -> Json:
    return _parameter(name, description, {"type": "array", "items": TEXT}, explode=True)


RANGE = [
    _parameter("timeframe", "A range up to now; or send start and end.", {"enum": list(TIMEFRAMES)}),
    _parameter("start", "A time with an offset, or a day in the time zone."),
    _parameter("end", "The same; before it the range ends."),
    _parameter("timezone", "An IANA name; UTC by default."),
]
FILTERS = [
    _several("eventType", "Only events of these types."),
    _several("area", "Only events of these areas."),
    _several("userId", "Only events of these users."),
    _several("participantType", "Only events of participants of these types."),
    _parameter(
        "data",
        "data.<key>=<value>: only events whose data has one of these values under the key.",
        {"type": "object", "additionalProperties": TEXT},
        style="form",
        explode=True,
    ),
]
PAGE = [
    _parameter("limit", "How many rows.", {"type": "integer", "minimum": 1, "maximum": 1000}),
    _parameter("cursor", "The nextCursor of the page before."),
]
GRANULARITY = _parameter(
    "granularity", "How long a bucket is; by the range's length unless sent.", {"enum": list(GRANULARITIES)}
)
BREAKDOWN = _parameter("breakdown", "eventType, area, userId, participantType or data.<key>.")
METRICS = [*RANGE, GRANULARITY, BREAKDOWN, PAGE[0], *FILTERS]
USER = _parameter("userId", "Whose.")
SESSION = _parameter("sessionId", "Of which session.", UUID)
RAW = [*RANGE, *PAGE, *FILTERS, _several("sessionId", "Only events of these sessions.")]
REJECTIONS = [
    _parameter("reason", "Rejected for this reason."),
    *(_parameter(name, "Only of this one.") for name in ("sessionId", "userId", "eventId", "batchId", "requestId")),
    _parameter("start", "Received at or after."),
    _parameter("end", "Received before."),
    _parameter("state", "What has become of them.", {"enum": ["pending", "replayed", "all"]}),
    _parameter("group", "Counts by reason instead of rows.", {"enum": ["reason"]}),
    *PAGE,
]

# What ingest reads is described by hand: its validation is no model's.
EVENT_IN = _object(
    {
        "id": _nullable(UUID) | {"description": "Without it, it is derived from the content."},
        "sessionId": _nullable(UUID) | {"description": "Instead of the batch's."},
        "userId": _nullable({"type": "string", "minLength": 1, "maxLength": 200}),
        "context": _nullable({"type": "object"}),
        "eventType": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": r"\S"},
        "area": _nullable({"type": "string", "maxLength": 100}),
        "timestamp": TIME | {"description": "When it happened; the same on every retry."},
        "data": _nullable({"type": "object"}) | {"description": "At most 32 KB of JSON, 32 levels deep."},
    },
    ["eventType", "timestamp"],
    "One event as sent.",
)
BATCH_IN = _object(
    {
        "sessionId": UUID,
        "userId": _nullable({"type": "string", "minLength": 1, "maxLength": 200}),
        "sentAt": _nullable(TIME) | {"description": "The client's clock when it was sent."},
        "sequence": _nullable({"type": "integer", "minimum": 1})
        | {"description": "The batch's number in its session."},
        "dropped": _nullable(COUNT) | {"description": "Events that the client had to give up so far."},
        "context": _nullable({"type": "object"}) | {"description": "At most 4 KB of JSON."},
        "events": {"type": "array", "minItems": 1, "maxItems": 1000, "items": _ref("EventIn")},
    },
    ["events"],
    "A batch of events; sessionId may be missing where every event has its own.",
)
DETAIL = _object(
    {"loc": {"type": "array", "items": {"type": ["string", "integer"]}}, "type": TEXT, "message": TEXT},
    ["loc", "type", "message"],
    "Where a value is wrong and how; never the value itself.",
)
EVENT_RESULT = _object(
    {
        "index": COUNT,
        "id": _nullable(TEXT),
        "status": {"enum": ["accepted", "duplicate", "rejected", "ignored", "queued"]},
        "reason": TEXT,
        "details": {"type": "array", "items": _ref("Detail")},
    },
    ["index", "id", "status"],
    "What became of one event.",
)
BATCH_RESULT = _object(
    {
        "batchId": UUID,
        "status": {"enum": ["committed", "queued"]},
        **dict.fromkeys(("received", "accepted", "duplicates", "rejected", "ignored", "redacted"), COUNT),
        "events": {"type": "array", "items": _ref("EventResult")},
    },
    ["batchId", "status", "received", "accepted", "duplicates", "rejected", "ignored", "events"],
    "received = accepted + duplicates + rejected + ignored, always.",
)
ERROR = _object(
    {
        "error": _object(
            {"code": TEXT, "message": TEXT, "requestId": TEXT, "details": {"type": "array", "items": _ref("Detail")}},
            ["code", "message", "requestId", "details"],
        )
    },
    ["error"],
    "Why a request was refused, and what to do.",
)

_STATUSES = {
    "400": "Something in the request cannot be used; the error names it.",
    "401": "No key, or one that is unknown or revoked.",
    "403": "The key is of another kind, or this page may not use it.",
    "404": "There is no such thing in this project.",
    "409": "The session belongs to another user.",
    "410": "The token is expired, revoked or used up.",
    "413": "Over 1 MB as sent or 4 MB inflated.",
    "415": "A content type or encoding that is not read.",
    "429": "Too many requests, or too many tokens that are none; send it again later.",
    "503": "The database cannot be reached; nothing was stored. Send the same request again.",
}
_READ = ("400", "401", "403", "503")
_WRITE = (*_READ, "413", "415")


def _answer(description: str, schema: Json | None = None, content_type: str = "application/json") -> Json:
    if schema is None:
        return {"description": description}
    return {"description": description, "content": {content_type: {"schema": schema}}}


def _body(schema: Json, *, is_required: bool = True) -> Json:
    types = ("application/json", "text/plain", "application/x-www-form-urlencoded")
    return {"required": is_required, "content": {each: {"schema": schema} for each in types}}


def _route(
    verb: str,
    tag: str,
    summary: str,
    answer: Json | str | None,
    *,
    errors: Sequence[str] = (),
    query: Sequence[Json] = (),
    body: Json | None = None,
    answers: Json | None = None,
) -> Json:
    schema = _ref(answer) if isinstance(answer, str) else answer
    kinds = PERMISSIONS[verb]
    operation: Json = {"operationId": verb, "tags": [tag], "summary": summary}
    if kinds:
        operation["description"] = f"With a key of kind {' or '.join(kinds)}."
    operation["security"] = [{"bearer": []}, {"basic": []}, {"query": []}] if kinds else []
    if query:
        operation["parameters"] = list(query)
    if body is not None:
        operation["requestBody"] = body
    operation["responses"] = answers or {"200": _answer("As asked.", schema)}
    operation["responses"] |= {status: {"$ref": f"#/components/responses/{status}"} for status in errors}
    return operation


def _file(verb: str, summary: str, content_type: str, *, errors: Sequence[str] = ()) -> Json:
    answers = {"200": _answer("The file.", TEXT, content_type), "304": _answer("It has not changed.")}
    return _route(verb, "Web", summary, None, answers=answers, errors=errors)


ROUTES: dict[str, Json] = {
    "POST /v1/events": _route(
        "save_batch", "Ingest", "Store a batch of events", None, body=_body(_ref("BatchIn")), errors=_WRITE,
        answers={
            "200": _answer("Postgres has committed what is accepted.", _ref("BatchResult")),
            "202": _answer("It is durably queued, where the deployment buffers.", _ref("BatchResult")),
        },
    ),
    "PUT /v1/sessions/{sessionId}": _route(
        "put_session", "Sessions", "Create or update a session", "Session",
        body=_body(_ref("SessionIn"), is_required=False), errors=(*_WRITE, "409"),
    ),
    "GET /v1/sessions/{sessionId}": _route(
        "get_session", "Sessions", "A session and what is known of it", "Session", errors=(*_READ, "404")
    ),
    "PUT /v1/consent": _route(
        "put_consent", "People", "Keep a decision", "Decision", body=_body(_ref("DecisionIn")), errors=(*_WRITE, "409")
    ),
    "GET /v1/consent": _route(
        "get_consent", "People", "The decision that counts for a user or a session", "Consent", query=[USER, SESSION],
        errors=_READ,
    ),
    "GET /v1/subjects/{userId}": _route(
        "get_subject", "People", "A page of everything stored about a user", "Subject", query=PAGE, errors=_READ
    ),
    "DELETE /v1/subjects/{userId}": _route("erase_subject", "People", "Erase a user", "Receipt", errors=_READ),
    "POST /v1/pilot-tokens": _route(
        "issue_pilot_tokens", "Pilot", "New tokens, in clear this one time", None, body=_body(_ref("IssueIn")),
        answers={"201": _answer("They are issued.", _ref("IssuedTokens"))}, errors=_WRITE,
    ),
    "GET /v1/pilot-tokens": _route(
        "get_pilot_tokens", "Pilot", "The tokens and what has become of them", "TokenPage", query=PAGE, errors=_READ
    ),
    "DELETE /v1/pilot-tokens/{id}": _route(
        "revoke_pilot_token", "Pilot", "Nobody redeems it any more", "PilotToken", errors=(*_READ, "404")
    ),
    "POST /v1/pilot-tokens/redeem": _route(
        "redeem_pilot_token", "Pilot", "Make a user or a session a participant", "Redemption",
        body=_body(_ref("RedeemIn")), errors=(*_WRITE, "404", "409", "410", "429"),
    ),
    "GET /v1/metrics": _route(
        "get_metrics", "Metrics", "Totals, series and breakdown of a range", "Metrics", query=METRICS, errors=_READ
    ),
    "GET /v1/metrics/events": _route(
        "get_recent_events", "Metrics", "Raw events, newest first", "EventPage", query=RAW,
        errors=_READ,
    ),
    "GET /v1/metrics/sessions": _route(
        "get_recent_sessions", "Metrics", "Sessions by their latest event, newest first", "SessionPage", query=RAW,
        errors=_READ,
    ),
    "GET /v1/metrics/users/{userId}": _route(
        "get_user", "Metrics", "One user's summary and latest events", "UserSummary", errors=(*_READ, "404")
    ),
    "POST /v1/metrics/funnel": _route(
        "get_funnel", "Metrics", "How many take step after step", "Funnel", body=_body(_ref("FunnelIn")), errors=_WRITE
    ),
    "GET /v1/metrics/retention": _route(
        "get_retention", "Metrics", "How many come back, by when they first came", "Retention", errors=_READ,
        query=[*RANGE, _parameter("period", "How long a period is.", {"enum": ["day", "week"]})],
    ),
    "GET /v1/metrics/export": _route(
        "export_events", "Metrics", "Raw events as a file, a page at a time", None, errors=_READ,
        query=[_parameter("format", "How it is written.", {"enum": ["csv", "ndjson"]}), *RAW],
        answers={
            "200": {
                "description": "A page; x-next-cursor leads to the next one.",
                "headers": {"x-next-cursor": {"description": "Absent on the last page.", "schema": TEXT}},
                "content": {"text/csv": {"schema": TEXT}, "application/x-ndjson": {"schema": TEXT}},
            }
        },
    ),
    "GET /v1/diagnostics": _route(
        "run_diagnostics", "Diagnostics", "Every check with its remedy", "Diagnostics", errors=("401", "403")
    ),
    "GET /v1/diagnostics/events/{eventId}": _route(
        "trace_event", "Diagnostics", "Where is my event?", "Trace", query=[SESSION, *METRICS], errors=_READ
    ),
    "GET /v1/diagnostics/sessions/{sessionId}": _route(
        "get_delivery_report", "Diagnostics", "Which batches of a session have arrived", "DeliveryReport",
        errors=(*_READ, "404"),
    ),
    "GET /v1/diagnostics/rejections": _route(
        "get_rejections", "Diagnostics", "The quarantine, newest first",
        {"oneOf": [_ref("RejectionPage"), _ref("RejectionGroups")]}, query=REJECTIONS, errors=_READ,
    ),
    "POST /v1/diagnostics/rejections/replay": _route(
        "replay_rejections", "Diagnostics", "Store what was rejected, where today's rules let it pass", "Replay",
        body=_body(_ref("ReplayIn"), is_required=False), errors=_WRITE,
    ),
    "GET /healthz": _route(
        "check_health", "Diagnostics", "Whether the database answers and the schema is current",
        _object({"status": {"const": "ok"}}, ["status"]), errors=("503",),
    ),
    "GET /": _file("get_dashboard", "The dashboard", "text/html"),
    "GET /assets/{name}": _file("get_asset", "A part of the dashboard", "text/javascript", errors=("404",)),
    "GET /muster.js": _file("get_client", "The browser client", "text/javascript", errors=("404",)),
    "GET /openapi.json": _file("get_description", "This description", "application/json"),
}  # fmt: skip
_PATH_PARAMETERS = {"id": UUID, "sessionId": UUID, "eventId": UUID, "userId": TEXT | {"maxLength": 200}, "name": TEXT}


def describe() -> Json:
    """The description: OpenAPI 3.1."""
    _, models = msgspec.json.schema_components(MODELS, ref_template="#/components/schemas/{name}")
    paths: Json = {}
    for route, operation in ROUTES.items():
        method, _, path = route.partition(" ")
        named = [
            {"name": name, "in": "path", "required": True, "schema": _PATH_PARAMETERS[name]}
            for name in re.findall(r"{(\w+)}", path)
        ]
        item = paths.setdefault(path, {"parameters": named} if named else {})
        item[method.lower()] = operation
    schemas = {
        **models, "EventIn": EVENT_IN, "BatchIn": BATCH_IN, "EventResult": EVENT_RESULT, "BatchResult": BATCH_RESULT,
        "Detail": DETAIL, "Error": ERROR,
    }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Muster",
            "version": "1",
            "description": "Every event, present and accounted for. 2xx means durably stored, or durably queued.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(operation["tags"][0] for operation in ROUTES.values())],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer <key>"},
                "basic": {"type": "http", "scheme": "basic", "description": "The key as user name."},
                "query": {"type": "apiKey", "in": "query", "name": "key", "description": "For beacons."},
            },
            "responses": {status: _answer(description, _ref("Error")) for status, description in _STATUSES.items()},
            "schemas": dict(sorted(schemas.items())),
        },
    }


def text() -> str:
    """The file's content."""
    return json.dumps(describe(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """The command line."""
    FILE.write_text(text(), "utf-8")
    print(f"{FILE.relative_to(PROJECT)}: {len(ROUTES)} routes")


if __name__ == "__main__":
    main()
