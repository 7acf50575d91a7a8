"""Where is my event? The stages that it has passed, the first that it has not, and what to do."""

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
_REPLAY = 'then POST /v1/diagnostics/rejections/replay {{"ids": [{id}]}} with the admin key'
_REJECTED: Mapping[str, str] = {
    "invalid_event": "Mend the event as its details say; where the rule was wrong and is mended, " + _REPLAY + ".",
    "event_too_large": "Send less in data: 32 KB at most; what is large belongs in a store of its own.",
    "timestamp_out_of_range": "Correct the client's clock. History is imported with an admin key: POST "
    '/v1/diagnostics/rejections/replay {{"ids": [{id}], "history": true}} with the admin key stores this one.',
    "storage_error": "Mend the value that PostgreSQL refuses, which the details name; " + _REPLAY + ".",
}
_REFUSED = "The whole request was refused: mend it as its details say; the client then sends all of its events again."
_IGNORED: Mapping[str, str] = {
    "consent_denied": "The person has refused or withdrawn consent; PUT /v1/consent records another decision.",
    "consent_missing": "Record consent (PUT /v1/consent) before events are sent, or set the project's consentMode.",
    "bot": "Its sender's user agent is a crawler's. A server that posts for people names theirs in context.userAgent.",
}
_NEVER_CAME = (
    "See that the client sends to this API: its own status() says what it still keeps. Of requests that came this far, "
    "the saved query refused-before-lambda shows those that API Gateway refused, and this one what became of the rest: "
    'fields @timestamp, message, reason, code | filter event_id = "{id}" or @message like "{id}" | sort @timestamp desc'
)


class Stage(WireModel):
    """One stage of an event's way."""

    stage: StageName
    status: StageStatus
    at: datetime | None = None
    detail: str | None = None


class Trace(WireModel):
    """The answer of GET /v1/diagnostics/events/{eventId}."""

    found: bool
    stages: list[Stage]
    verdict: str
    remedy: str | None
    session_id: str | None = None
    batch_id: UUID | None = None
    request_id: str | None = None
    known: dict[str, Any] | None = None
    """Of an event that was not found: what is known of its session, and of the queue."""


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
    """An event's stages; with the event's session in the request it is found faster.

    Raises:
        InvalidParameter: the view that it is looked for in has too many buckets, or none.
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
        # The planner does not know how much a bloom filter leaves out, and would read every event.
        cursor.execute("SET LOCAL enable_seqscan = off")
        return cursor.execute(query("diagnostics/find_event"), wanted).fetchall()


def _one(connection: Connection, kind: type[Any], name: str, parameters: Mapping[str, Any]) -> Any:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query(f"diagnostics/{name}"), parameters).fetchone()


def _way(*told: Stage, rest: StageStatus = "skip") -> list[Stage]:
    """All stages: those that are told, then the rest."""
    return [*told, *(Stage(stage=name, status=rest) for name in STAGES[len(told) :])]


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
    judged = None
    if rejected is not None:
        judged = f"At first it was rejected, as {rejected.reason}."
        if rejected.replayed_at is not None:
            judged = f"{judged} It was replayed at {_text(rejected.replayed_at)}."
    copies = "Every later copy of it is answered duplicate and changes nothing."
    if len(rows) > 1:
        copies = (
            f"There are {len(rows)} events of this id, since they came in other sessions or with other timestamps: a "
            "client must send the same on every retry."
        )
    stages = [
        _passed("received", row.received_at, f"In batch {row.batch_id}."),
        _passed("validated", row.received_at, judged),
        _passed("consent", row.received_at),
        _passed("deduplicated", row.received_at, copies),
        _passed("stored", row.received_at, f"In session {row.session_id}; it happened at {_text(row.occurred_at)}."),
    ]
    if reasons:
        stages.append(_failed("visible", None, " ".join(reasons)))
        verdict = f"It is stored, and this view does not show it. {reasons[0]}"
    else:
        stages.append(_passed("visible", None, "GET /v1/metrics with these parameters counts it."))
        verdict = "It is stored, and this view counts it."
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
    said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['message'].rstrip('.')}" for each in row.details[:5])
    detail = f"{row.reason}{f' ({said})' if said else ''}"
    if row.reason == "storage_error":
        way = [_passed("received", at), _passed("validated", at), _passed("consent", at), _passed("deduplicated", at)]
        stages = _way(*way, _failed("stored", at, detail))
    else:
        stages = _way(_passed("received", at), _failed("validated", at, detail))
    what = "It was rejected" if row.index is not None else "The request that it was in was refused"
    remedy = _REFUSED if row.index is None else _REJECTED.get(row.reason, _REJECTED["invalid_event"]).format(id=row.id)
    return Trace(
        found=True,
        stages=stages,
        verdict=f"{what}: {detail}.",
        remedy=remedy,
        session_id=row.session_id,
        batch_id=row.batch_id,
        request_id=row.request_id,
    )


def _of_ignored(row: _Ignored) -> Trace:
    at = row.received_at
    return Trace(
        found=True,
        stages=_way(_passed("received", at), _passed("validated", at), _failed("consent", at, row.reason)),
        verdict=f"It was ignored on purpose: {row.reason}.",
        remedy=_IGNORED[row.reason],
        batch_id=row.batch_id,
    )


def _of_erased() -> Trace:
    return Trace(
        found=True,
        stages=_way(
            _passed("received"),
            _passed("validated"),
            _passed("consent"),
            _passed("deduplicated"),
            _failed("stored", None, "erased"),
        ),
        verdict="It is of what DELETE /v1/subjects erased with all of its user, and is kept out when it comes again.",
        remedy=None,
    )


def _of_queued(settings: Settings, event_id: UUID) -> Trace | None:
    if settings.ingest_mode != "buffered":
        return None
    try:
        found = find_event(settings, str(event_id))
    except QueueUnreachable:
        return None  # the unknown says so
    if found is None:
        return None
    at = datetime.fromisoformat(found.received_at)
    batch_id = UUID(found.batch_id)
    if found.rejected is not None:
        detail = str(found.rejected["reason"])
        return Trace(
            found=True,
            stages=_way(_passed("received", at, "In the queue."), _failed("validated", at, detail)),
            verdict=f"It was rejected: {detail}. Its batch waits in the queue, and will be quarantined with it.",
            remedy=_REJECTED["invalid_event"].partition(";")[0] + ".",
            session_id=found.session_id,
            batch_id=batch_id,
            request_id=found.request_id,
        )
    return Trace(
        found=True,
        stages=_way(_passed("received", at, "In the queue."), _passed("validated", at), rest="unknown"),
        verdict=f"It waits in the queue since {_text(at)}; consent and duplicates are judged when it is stored.",
        remedy="Wait a moment. When it stays so, the checks queue and connection of GET /v1/diagnostics say why.",
        session_id=found.session_id,
        batch_id=batch_id,
        request_id=found.request_id,
    )


def _of_unknown(connection: Connection, project_id: UUID, settings: Settings, request: TraceRequest) -> Trace:
    report = None if request.session_id is None else find_delivery_report(connection, project_id, request.session_id)
    known: dict[str, Any] = {"mode": settings.ingest_mode}
    detail = "No batch with this event has been stored, rejected or ignored in this project."
    if settings.ingest_mode == "buffered":
        detail += " Nor is it among the messages at the queue's front; GET /v1/diagnostics says how many wait."
    if request.session_id is None:
        known["hint"] = "With ?sessionId=… the answer says what has arrived of its session."
    elif report is None:
        known["session"] = None
        detail += " Nothing of its session has arrived either."
    else:
        known["session"] = report
        detail += f" Of its session: {report.verdict}"
    return Trace(
        found=False,
        stages=_way(Stage(stage="received", status="unknown", detail=detail), rest="unknown"),
        verdict="It is not known here: it has never arrived, or under another id, key or project.",
        remedy=_NEVER_CAME.format(id=request.event_id),
        session_id=None if request.session_id is None else str(request.session_id),
        known=known,
    )


def _text(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
