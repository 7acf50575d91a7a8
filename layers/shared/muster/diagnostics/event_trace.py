"""Where is my event? The stages it has passed, the first stage it has not passed, and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import class_row

from muster.auth.keys import Access
from muster.db.client import Connection, Database
from muster.db.queries import query
from muster.diagnostics.delivery import find_delivery_report
from muster.diagnostics.queue_probe import QueueUnreachable, find_event
from muster.diagnostics.visibility import explain_hidden
from muster.http.response import WireModel
from muster.metrics.request import TraceRequest
from muster.platform.settings import Settings

StageName = Literal["received", "validated", "consent", "deduplicated", "stored", "visible"]
StageStatus = Literal["pass", "fail", "skip", "unknown"]
STAGES: Sequence[StageName] = ("received", "validated", "consent", "deduplicated", "stored", "visible")
_REPLAY = 'POST /v1/diagnostics/rejections/replay {{"ids": [{id}]}} with the admin key'
_REJECTED: Mapping[str, str] = {
    "invalid_event": f"Fix the event as its details say. If a validation rule was wrong and is fixed now, {_REPLAY}.",
    "event_too_large": "Send at most 32 KB in data. Store large content elsewhere and send a reference to it.",
    "timestamp_out_of_range": "Correct the client's clock. If the event is an import of history, POST "
    '/v1/diagnostics/rejections/replay {{"ids": [{id}], "history": true}} with the admin key.',
    "storage_error": f"Fix the value that PostgreSQL cannot store; the details name it. If the event is storable now, "
    f"{_REPLAY}.",
}
_REFUSED = "Fix the request as its details say, then let the client send it again with all of its events."
_IGNORED: Mapping[str, str] = {
    "consent_denied": "The user denied or withdrew consent. PUT /v1/consent records a new decision.",
    "consent_missing": "Record consent (PUT /v1/consent) before events are sent, or change the project's consentMode.",
    "bot": "The user agent is a crawler's. A server that posts for its users sends each user's in context.userAgent.",
}
_NEVER_RECEIVED = (
    "Check that the client sends to this API: its status() lists the events that it still has. The saved query "
    "refused-before-lambda shows the requests that API Gateway refused. This query shows what happened to the others: "
    'fields @timestamp, message, reason, code | filter event_id = "{id}" or @message like "{id}" | sort @timestamp desc'
)


class Stage(WireModel):
    """One stage of ingest that an event passes."""

    stage: StageName
    status: StageStatus
    at: datetime | None = None
    detail: str | None = None


class Trace(WireModel):
    """The response to GET /v1/diagnostics/events/{eventId}."""

    found: bool
    stages: list[Stage]
    verdict: str
    remedy: str | None
    session_id: str | None = None
    batch_id: UUID | None = None
    request_id: str | None = None
    known: dict[str, Any] | None = None
    """For an event that was not found: the ingest mode and what is known about its session."""


@dataclass(frozen=True, slots=True)
class _Stored:
    session_id: UUID
    occurred_at: datetime
    received_at: datetime
    batch_id: UUID


@dataclass(frozen=True, slots=True)
class _Ignored:
    reason: str
    batch_id: UUID
    occurred_at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class _Erased:
    erased: bool


@dataclass(frozen=True, slots=True)
class _Rejected:
    id: int
    reason: str
    details: list[dict[str, Any]]
    session_id: str | None
    batch_id: UUID | None
    request_id: str | None
    index: int | None
    received_at: datetime
    replayed_at: datetime | None


def trace_event(database: Database, access: Access, request: TraceRequest) -> Trace:
    """Find an event and the stages it has passed. It is found faster if the request names its session.

    Raises:
        InvalidParameter: the range of the metrics view is invalid.
    """
    project_id = database.run(access.look_up).project_id
    return (
        database.run(_find, project_id, request)
        or _of_queued(database.settings, request.event_id)
        or database.run(_of_unknown, project_id, database.settings, request)
    )


def _find(connection: Connection, project_id: UUID, request: TraceRequest) -> Trace | None:
    """The trace of an event that the database knows."""
    wanted = {
        "project_id": project_id,
        "event_id": request.event_id,
        "event_text": str(request.event_id),
        "session_id": request.session_id,
    }
    rejected = _one(connection, _Rejected, "find_rejection", wanted)
    stored = _find_stored(connection, wanted)
    if stored:
        return _of_stored(connection, project_id, stored, rejected, request)
    if rejected is not None:
        return _of_rejected(rejected)
    ignored = _one(connection, _Ignored, "find_ignored", wanted)
    if ignored is not None:
        return _of_ignored(ignored)
    if _one(connection, _Erased, "find_erased", wanted).erased:
        return _of_erased()
    return None


def _find_stored(connection: Connection, wanted: Mapping[str, Any]) -> list[_Stored]:
    with connection.transaction(), connection.cursor(row_factory=class_row(_Stored)) as cursor:
        # The planner cannot estimate how many blocks a bloom filter skips, and would read every event.
        cursor.execute("SET LOCAL enable_seqscan = off")
        return cursor.execute(query("diagnostics/find_event"), wanted).fetchall()


def _one(connection: Connection, kind: type[Any], name: str, parameters: Mapping[str, Any]) -> Any:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query(f"diagnostics/{name}"), parameters).fetchone()


def _stages(*known: Stage, rest: StageStatus = "skip") -> list[Stage]:
    """All stages: the known ones, then the remaining ones with the status `rest`."""
    return [*known, *(Stage(stage=name, status=rest) for name in STAGES[len(known) :])]


def _passed(name: StageName, at: datetime | None = None, detail: str | None = None) -> Stage:
    return Stage(stage=name, status="pass", at=at, detail=detail)


def _failed(name: StageName, at: datetime | None, detail: str) -> Stage:
    return Stage(stage=name, status="fail", at=at, detail=detail)


def _of_stored(
    connection: Connection, project_id: UUID, rows: list[_Stored], rejected: _Rejected | None, request: TraceRequest
) -> Trace:
    row = rows[0]
    reasons, remedy = explain_hidden(
        connection,
        request.metrics,
        project_id=project_id,
        event_id=request.event_id,
        session_id=row.session_id,
        occurred_at=row.occurred_at,
    )
    rejection = None
    if rejected is not None:
        rejection = f"It was first rejected with the reason {rejected.reason}."
        if rejected.replayed_at is not None:
            rejection = f"{rejection} It was replayed at {_text(rejected.replayed_at)}."
    copies = "Any later copy gets the status duplicate and changes nothing."
    if len(rows) > 1:
        copies = (
            f"{len(rows)} events have this id, because they were sent with different sessions or timestamps. A client "
            "must send the same session and timestamp on every retry."
        )
    stages = [
        _passed("received", row.received_at, f"In batch {row.batch_id}."),
        _passed("validated", row.received_at, rejection),
        _passed("consent", row.received_at),
        _passed("deduplicated", row.received_at, copies),
        _passed("stored", row.received_at, f"In session {row.session_id}, with the time {_text(row.occurred_at)}."),
    ]
    if reasons:
        stages.append(_failed("visible", None, " ".join(reasons)))
        verdict = f"The event is stored, but this view does not show it. {reasons[0]}"
    else:
        stages.append(_passed("visible", None, "GET /v1/metrics with these parameters counts it."))
        verdict = "The event is stored, and this view counts it."
    return Trace(
        found=True,
        stages=stages,
        verdict=verdict,
        remedy=remedy,
        session_id=str(row.session_id),
        batch_id=row.batch_id,
        request_id=None if rejected is None else rejected.request_id,
    )


def _of_rejected(row: _Rejected) -> Trace:
    at = row.received_at
    listed = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['message'].rstrip('.')}" for each in row.details[:5])
    detail = f"{row.reason}{f' ({listed})' if listed else ''}"
    if row.reason == "storage_error":
        passed = [_passed(name, at) for name in STAGES[: STAGES.index("stored")]]
        stages = _stages(*passed, _failed("stored", at, detail))
    else:
        stages = _stages(_passed("received", at), _failed("validated", at, detail))
    outcome = "The event was rejected" if row.index is not None else "The whole request was refused"
    remedy = _REFUSED if row.index is None else _REJECTED.get(row.reason, _REJECTED["invalid_event"]).format(id=row.id)
    return Trace(
        found=True,
        stages=stages,
        verdict=f"{outcome}: {detail}.",
        remedy=remedy,
        session_id=row.session_id,
        batch_id=row.batch_id,
        request_id=row.request_id,
    )


def _of_ignored(row: _Ignored) -> Trace:
    at = row.received_at
    return Trace(
        found=True,
        stages=_stages(_passed("received", at), _passed("validated", at), _failed("consent", at, row.reason)),
        verdict=f"The event was ignored on purpose: {row.reason}.",
        remedy=_IGNORED[row.reason],
        batch_id=row.batch_id,
    )


def _of_erased() -> Trace:
    return Trace(
        found=True,
        stages=_stages(
            *(_passed(name) for name in STAGES[: STAGES.index("stored")]), _failed("stored", None, "erased")
        ),
        verdict="This event belongs to an erased user. It was deleted and will be ignored if it is sent again.",
        remedy=None,
    )


def _of_queued(settings: Settings, event_id: UUID) -> Trace | None:
    if settings.ingest_mode != "buffered":
        return None
    try:
        found = find_event(settings, str(event_id))
    except QueueUnreachable:
        return None  # _of_unknown answers
    if found is None:
        return None
    at = datetime.fromisoformat(found.received_at)
    batch_id = UUID(found.batch_id)
    if found.rejected is not None:
        detail = str(found.rejected["reason"])
        return Trace(
            found=True,
            stages=_stages(_passed("received", at, "In the queue."), _failed("validated", at, detail)),
            verdict=f"The event was rejected: {detail}. It is quarantined once its batch leaves the queue.",
            remedy=_REJECTED["invalid_event"].partition(".")[0] + ".",
            session_id=found.session_id,
            batch_id=batch_id,
            request_id=found.request_id,
        )
    return Trace(
        found=True,
        stages=_stages(_passed("received", at, "In the queue."), _passed("validated", at), rest="unknown"),
        verdict=f"The event has been in the queue since {_text(at)}. Consent and duplicates are checked on storing.",
        remedy="Wait a moment. If it stays queued, see the checks queue and connection of GET /v1/diagnostics.",
        session_id=found.session_id,
        batch_id=batch_id,
        request_id=found.request_id,
    )


def _of_unknown(connection: Connection, project_id: UUID, settings: Settings, request: TraceRequest) -> Trace:
    report = None if request.session_id is None else find_delivery_report(connection, project_id, request.session_id)
    known: dict[str, Any] = {"mode": settings.ingest_mode}
    detail = "This project has not stored, rejected or ignored an event with this id."
    if settings.ingest_mode == "buffered":
        detail += (
            " It is not among the first messages of the queue either; the check queue of GET /v1/diagnostics says how "
            "many messages are waiting."
        )
    if request.session_id is None:
        known["hint"] = "Add ?sessionId=… to see which batches of its session have arrived."
    elif report is None:
        known["session"] = None
        detail += " No batch of its session has arrived either."
    else:
        known["session"] = report
        detail += f" Its session: {report.verdict}"
    return Trace(
        found=False,
        stages=_stages(Stage(stage="received", status="unknown", detail=detail), rest="unknown"),
        verdict="The event is unknown: it never arrived, or it was sent with another id or to another project.",
        remedy=_NEVER_RECEIVED.format(id=request.event_id),
        session_id=None if request.session_id is None else str(request.session_id),
        known=known,
    )


def _text(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
