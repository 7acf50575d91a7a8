"""A project never reads or changes another's rows: every route with every kind of key and the other's ids."""

import hashlib
import importlib
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from local.routes import route_tables
from local.sam.template import load_template
from muster.auth.permissions import PERMISSIONS
from muster.metrics.rollups import roll_up
from muster.projects.projects import create_key, revoke_key
from tests.support.databases import Project, make_project
from tests.support.functions import Answer, Caller, a_batch, an_event

PROJECT = Path(__file__).resolve().parents[2]
TEMPLATE = load_template(PROJECT / "template.yaml")
# No other number of the test is near it. In a response it shows that rows of the other project were counted.
EVENTS = 4_321
_ROUTE_OF_A_FUNCTION = [route for route in TEMPLATE.routes if route.method != "OPTIONS"]


@dataclass(frozen=True)
class Victim:
    """The project with rows that no other project may see or change: its ids, and texts that only its rows contain."""

    project: Project
    session_id: str
    event_id: str
    rejected_id: str
    batch_id: str
    rejections: list[int]
    cursors: dict[str, str]
    texts: list[str]


@dataclass(frozen=True)
class Attempt:
    """One request for rows of the victim."""

    path: Mapping[str, str] | None = None
    body: Any = None
    query: Mapping[str, str] | None = None

    def of(self, pattern: str) -> str:
        """The path of the request."""
        return pattern.format(**(self.path or {}))


USER, DOCUMENT = "victim-user", "victim-data"
TOKEN = "mp_the-token-of-that-project"  # noqa: S105 - made up


def _attempts(victim: Victim) -> dict[str, list[Attempt]]:
    """For each route, the requests of an intruder who knows all ids of the victim."""
    session, event = {"sessionId": victim.session_id}, {"eventId": victim.event_id}
    # The same event and session, as in a retry of the victim's own batch.
    again = an_event(id=victim.event_id, eventType="intruder")
    filters = [{"userId": USER}, {"eventType": "victim-type"}, {"area": "victim-area"}, {"data.secret": DOCUMENT}]
    everything = [{}, *filters, *({"breakdown": name} for name in ("eventType", "area", "userId", "data.secret"))]
    whole = {"timeframe": "all"}
    steps = [{"eventType": "victim-type"}, {"eventType": "victim-type", "area": "victim-area"}]
    return {
        "POST /v1/events": [
            Attempt(body=a_batch(again, sessionId=victim.session_id, userId=USER, sequence=99, dropped=99)),
            Attempt(body=a_batch(an_event(eventType=7, id=victim.rejected_id), sessionId=victim.session_id)),
            Attempt(body={"sessionId": victim.session_id, "projectId": str(victim.project.id), "events": "none"}),
        ],
        "PUT /v1/sessions/{sessionId}": [
            Attempt(session, {"userId": "intruder", "endedAt": "2026-05-17T10:05:03Z", "context": {"a": 1}}),
        ],
        "GET /v1/sessions/{sessionId}": [Attempt(session)],
        "PUT /v1/consent": [
            Attempt(body={"userId": USER, "status": "withdrawn"}),
            Attempt(body={"sessionId": victim.session_id, "userId": USER, "status": "withdrawn"}),
        ],
        "GET /v1/consent": [Attempt(query={"userId": USER}), Attempt(query={"sessionId": victim.session_id})],
        "GET /v1/subjects/{userId}": [
            Attempt({"userId": USER}),
            Attempt({"userId": USER}, query={"cursor": victim.cursors["events"]}),
        ],
        "DELETE /v1/subjects/{userId}": [Attempt({"userId": USER}), Attempt({"userId": "%"})],
        "POST /v1/pilot-tokens": [Attempt(body={"participantType": "intruder"})],
        "GET /v1/pilot-tokens": [Attempt(), Attempt(query={"cursor": victim.cursors["tokens"]})],
        "DELETE /v1/pilot-tokens/{id}": [Attempt({"id": victim.cursors["tokens"]})],
        "POST /v1/pilot-tokens/redeem": [
            Attempt(body={"token": TOKEN, "userId": USER}),
            Attempt(body={"token": TOKEN, "sessionId": victim.session_id}),
        ],
        "GET /v1/metrics": [Attempt(query=whole | query) for query in everything],
        "GET /v1/metrics/events": [
            *(Attempt(query=whole | query) for query in [{}, *filters]),
            Attempt(query=whole | {"cursor": victim.cursors["events"]}),
            Attempt(query=whole | {"sessionId": victim.session_id}),
        ],
        "GET /v1/metrics/sessions": [
            *(Attempt(query=whole | query) for query in [{}, *filters]),
            Attempt(query=whole | {"cursor": victim.cursors["events"]}),
            Attempt(query=whole | {"sessionId": victim.session_id}),
        ],
        "GET /v1/metrics/users/{userId}": [Attempt({"userId": USER}), Attempt({"userId": "%"})],
        "POST /v1/metrics/funnel": [
            Attempt(body={"steps": steps, "by": by, "timeframe": "all"}) for by in ("user", "session")
        ],
        "GET /v1/metrics/retention": [Attempt(query={"period": period, **whole}) for period in ("day", "week")],
        "GET /v1/metrics/export": [
            Attempt(query={"format": "csv", **whole}),
            Attempt(query={"format": "ndjson", **whole, "userId": USER}),
            Attempt(query={"format": "ndjson", **whole, "cursor": victim.cursors["export"]}),
        ],
        "GET /v1/diagnostics": [Attempt()],
        "GET /v1/diagnostics/events/{eventId}": [
            Attempt(event),
            Attempt(event, query={"sessionId": victim.session_id}),
            Attempt({"eventId": victim.rejected_id}),
        ],
        "GET /v1/diagnostics/sessions/{sessionId}": [Attempt(session)],
        "GET /v1/diagnostics/rejections": [
            Attempt(query={"state": "all"}),
            Attempt(query={"group": "reason", "state": "all"}),
            Attempt(query={"cursor": victim.cursors["rejections"], "state": "all"}),
            *(
                Attempt(query={name: value, "state": "all"})
                for name, value in {
                    "sessionId": victim.session_id,
                    "eventId": victim.rejected_id,
                    "batchId": victim.batch_id,
                    "userId": USER,
                }.items()
            ),
        ],
        "POST /v1/diagnostics/rejections/replay": [
            Attempt(),
            Attempt(body={"ids": victim.rejections, "history": True}),
            Attempt(body={"sessionId": victim.session_id, "history": True}),
            Attempt(body={"batchId": victim.batch_id, "cursor": "0"}),
        ],
        "GET /healthz": [Attempt()],
        # Files, from a function without access to the database.
        "GET /": [Attempt()],
        "GET /assets/{name}": [Attempt({"name": victim.session_id}), Attempt({"name": "..%2Fopenapi.json"})],
        "GET /muster.js": [Attempt()],
        "GET /openapi.json": [Attempt()],
    }


@pytest.fixture
def call(environment: pytest.MonkeyPatch, project: Project) -> Callable[..., Answer]:
    """Send a request to the function of a route, with that function's database role."""

    def ask(route: str, key: str | None, attempt: Attempt) -> Answer:
        (found,) = (each for each in TEMPLATE.routes if each.key == route)
        module = importlib.import_module(f"functions.{found.function.removesuffix('Function').lower()}.app")
        role = TEMPLATE.functions[found.function].environment.get("DATABASE_ROLE", "muster_reader")
        caller = Caller(module.lambda_handler, Project(None, {"it": key or ""}), role, environment)
        path = attempt.of(found.path)
        return caller(route, attempt.body, kind="it" if key else None, path=path, query=attempt.query)

    return ask


@pytest.fixture
def victim(database_url: str, project: Project, call: Callable[..., Answer]) -> Victim:
    """A project with rows in every table."""
    session, event, rejected = (str(uuid.uuid4()) for _ in range(3))
    write, admin = project.keys["write"], project.keys["admin"]
    fields = {"eventType": "victim-type", "area": "victim-area", "data": {"secret": DOCUMENT}}
    events = [an_event(id=event, **fields), an_event(id=rejected, eventType=7), an_event(**fields)]
    batch = a_batch(*events, sessionId=session, userId=USER, sequence=3, dropped=2, context={"c": "victim-context"})
    batch_id = call("POST /v1/events", write, Attempt(body=batch)).json["batchId"]
    call("POST /v1/events", write, Attempt(body=a_batch(an_event(timestamp="2001-01-01T00:00:00Z"), userId=USER)))
    call("POST /v1/events", write, Attempt(body=a_batch(userId=USER, context={"userAgent": "Googlebot/2.1"})))
    with psycopg.connect(database_url, autocommit=True) as connection:
        _fill(connection, project.id, session)
    pages = {
        name: call(route, admin, Attempt(query={"limit": "2", **query}))
        for name, route, query in (
            ("events", "GET /v1/metrics/events", {"timeframe": "all"}),
            ("export", "GET /v1/metrics/export", {"timeframe": "all", "format": "csv"}),
            ("rejections", "GET /v1/diagnostics/rejections", {"state": "all"}),
        )
    }
    rows = pages["rejections"].json["rejections"]
    assert len(rows) == 2
    totals = call("GET /v1/metrics", admin, Attempt(query={"timeframe": "all"})).json["totals"]
    # The victim's own responses must count these rows, or the test could not find a leak.
    assert totals["events"] == EVENTS + 2
    with psycopg.connect(database_url, autocommit=True) as connection:
        # Last, because a request for metrics would process it.
        connection.execute(
            "INSERT INTO muster.pending_identities (project_id, session_id, user_id) VALUES (%s, %s, 'victim')",
            (project.id, uuid.uuid4()),
        )
    tokens = call("GET /v1/pilot-tokens", admin, Attempt()).json["tokens"]
    cursors = {
        "events": pages["events"].json["nextCursor"],
        "export": pages["export"].headers["x-next-cursor"],
        "rejections": str(rows[0]["id"] + 1),
        "tokens": tokens[0]["id"],
    }
    keys = [key[:8] for key in project.keys.values()]
    texts = [session, event, rejected, batch_id, str(project.id), USER, "victim", *keys]
    return Victim(project, session, event, rejected, batch_id, [row["id"] for row in rows], cursors, texts)


def _fill(connection: psycopg.Connection[Any], project_id: Any, session: str) -> None:
    values = {"project": project_id, "session": session, "user": USER, "secret": DOCUMENT, "events": EVENTS}
    values["token"] = TOKEN
    for statement in (
        """INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, event_type,
                                                area, data)
           SELECT %(project)s, %(session)s, gen_random_uuid(), now() - interval '1 day', gen_random_uuid(), %(user)s,
                  'victim-type', 'victim-area', jsonb_build_object('secret', %(secret)s::text)
             FROM generate_series(1, %(events)s)""",
        """INSERT INTO muster.analytics_consent (project_id, user_id, session_id, status, version)
           VALUES (%(project)s, %(user)s, %(session)s, 'granted', 'victim')""",
        """INSERT INTO muster.pilot_tokens (project_id, token_hash, prefix, participant_type, note)
           VALUES (%(project)s, sha256(%(token)s::text::bytea), 'victim-p', 'victim-type', 'victim-note')""",
        """INSERT INTO muster.pilot_redemptions (project_id, token_id, participant_type, user_id)
           SELECT project_id, id, 'victim-type', %(user)s FROM muster.pilot_tokens WHERE project_id = %(project)s""",
        "INSERT INTO muster.pilot_attempts (project_id) VALUES (%(project)s)",
        """INSERT INTO muster.erasures (project_id, user_hash, completed_at)
           VALUES (%(project)s, gen_random_uuid(), now())""",
        """INSERT INTO muster.erased_sessions (project_id, session_hash, erased_at, is_whole)
           VALUES (%(project)s, gen_random_uuid(), now(), true)""",
        """INSERT INTO muster.erased_events (project_id, event_hash, session_hash, was_stored)
           VALUES (%(project)s, gen_random_uuid(), gen_random_uuid(), true)""",
        "UPDATE muster.projects SET rollup_keys = '{secret}', name = 'victim-project' WHERE id = %(project)s",
        "SELECT count(*) FROM muster.reconcile_sessions(100)",
    ):
        connection.execute(statement, values)
    while not roll_up(connection, project_id, 100_000)[1]:
        pass


@pytest.fixture
def intruder(database_url: str) -> dict[str, str]:
    """Keys of another project by kind, a revoked key and an unknown one."""
    other = make_project(database_url, "intruder")
    with psycopg.connect(database_url, autocommit=True) as connection:
        revoked = create_key(connection, other.id, "admin")
        revoke_key(connection, revoked)
        connection.execute("UPDATE muster.projects SET rollup_keys = '{secret}' WHERE id = %s", [other.id])
    return {**other.keys, "revoked": revoked, "unknown": "ma_" + "x" * 43}


def _tables(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """The condition that selects a project's rows, by table."""
    tables = [
        row[0]
        for row in connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'muster'::regnamespace"
            " AND relkind IN ('r', 'p') AND NOT relispartition"
        )
    ]
    columns = connection.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'muster'"
    ).fetchall()
    of = {name: {column for table, column in columns if table == name} for name in tables}
    by_dimension = "dimension_id IN (SELECT id FROM muster.rollup_dimensions WHERE project_id = %(id)s)"
    by_scope = f"value_id IN (SELECT id FROM muster.rollup_dimension_values WHERE {by_dimension})"
    found = {}
    for name in set(tables) - {"schema_migrations", "schema_functions", "archive_state"}:
        if "project_id" in of[name]:
            found[name] = "project_id = %(id)s"
        elif name == "projects":
            found[name] = "id = %(id)s"
        else:
            found[name] = by_dimension if "dimension_id" in of[name] else by_scope
            assert of[name] & {"dimension_id", "value_id"}, f"say here which rows of {name} are a project's"
    return found


def checksums(database_url: str, project_id: Any) -> dict[str, tuple[int, str | None]]:
    """The number and the content of the project's rows, by table."""
    found = {}
    with psycopg.connect(database_url) as connection:
        for name, condition in _tables(connection).items():
            statement = sql.SQL(
                f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM muster.{{}} t WHERE {condition}"
            ).format(sql.Identifier(name))
            row = connection.execute(statement, {"id": project_id}).fetchone()
            assert row is not None
            found[name] = (int(row[0]), row[1])
    return found


def _expected(operation: str, holder: str, kind: str) -> tuple[int, str] | None:
    """The error that a key must get; None if it may use the route for its own project."""
    allowed = PERMISSIONS[operation]
    if not allowed:
        return None
    if kind == "none":
        return (401, "missing_key")
    if kind in ("revoked", "unknown"):
        return (401, "invalid_key")
    if kind not in allowed:
        return (403, "key_not_allowed")
    assert holder == "intruder"
    return None


def _operations() -> dict[str, str]:
    """The operation of each route, from the tables in the functions."""
    tables = route_tables().values()
    return {route.key: route.operation for table in tables for route in table if route.method != "OPTIONS"}


def test_every_route_is_tried(victim: Victim) -> None:
    # Add a new route to _attempts above, with every parameter that could name another project's rows.
    assert {route.key for route in _ROUTE_OF_A_FUNCTION} == set(_operations()) == set(_attempts(victim))


def test_no_route_shows_or_changes_another_projects_rows(
    database_url: str, victim: Victim, intruder: dict[str, str], call: Callable[..., Answer]
) -> None:
    before, operations = checksums(database_url, victim.project.id), _operations()
    empty = sorted(name for name, (count, _) in before.items() if not count)
    assert empty == [], "the victim has rows in every table, or the test proves nothing of them"
    own = victim.project.keys
    # The reads first: until the intruder has stored something, every number in its responses must be 0.
    attempts = sorted(
        _attempts(victim).items(), key=lambda item: "write" in PERMISSIONS[operations[item[0]]] or item[0][:3] != "GET"
    )
    for route, listed in attempts:
        keys: list[tuple[str, str, str | None]] = [("intruder", "none", None)]
        keys += [("intruder", kind, key) for kind, key in intruder.items()]
        # The victim's own keys of the kinds that may not use the route.
        keys += [
            ("victim", kind, key) for kind, key in own.items() if kind not in (PERMISSIONS[operations[route]] or own)
        ]
        for holder, kind, key in keys:
            for attempt in listed:
                answer = call(route, key, attempt)
                place = f"{route} with {kind} of {holder}: {attempt} {answer.status} {answer.text[:500]}"
                refusal = _expected(operations[route], holder, kind)
                if refusal is None:
                    assert answer.status not in (401, 403, 500, 503), place
                else:
                    assert (answer.status, answer.code) == refusal, place
                _assert_shows_nothing(answer, attempt, victim, place)
        assert checksums(database_url, victim.project.id) == before, route


def _assert_shows_nothing(answer: Answer, attempt: Attempt, victim: Victim, place: str) -> None:
    # A response may repeat values of the request.
    sent = json.dumps([attempt.path, attempt.body, attempt.query])
    said = answer.text + json.dumps(dict(answer.headers))
    for text in victim.texts:
        assert text in sent or text not in said, place
    assert not re.search(rf"(?<![\w.-])(?:{EVENTS}|{EVENTS + 2})(?![\w.-])", said), place
    assert hashlib.sha256(victim.project.keys["write"].encode()).hexdigest() not in said, place


def test_the_intruder_has_only_what_it_stored_itself(
    database_url: str, victim: Victim, intruder: dict[str, str], call: Callable[..., Answer]
) -> None:
    """The same ids in two projects are separate rows, and neither project finds the other's."""
    for attempt in _attempts(victim)["POST /v1/events"][:1]:
        answer = call("POST /v1/events", intruder["write"], attempt)
        assert (answer.json["accepted"], answer.json["duplicates"]) == (1, 0)
    session = call("GET /v1/sessions/{sessionId}", intruder["read"], Attempt({"sessionId": victim.session_id}))
    assert (session.json["eventsCount"], session.json["userId"]) == (1, USER)
    trace = call("GET /v1/diagnostics/events/{eventId}", intruder["read"], Attempt({"eventId": victim.event_id}))
    assert trace.json["found"] is True
    totals = call("GET /v1/metrics", intruder["read"], Attempt(query={"timeframe": "all"})).json["totals"]
    assert (totals["events"], totals["sessions"]) == (1, 1)
    with psycopg.connect(database_url) as connection:
        statement = "SELECT project_id, event_type FROM muster.analytics_events WHERE id = %s ORDER BY event_type"
        found = connection.execute(statement, [victim.event_id]).fetchall()
    assert [row[1] for row in found] == ["intruder", "victim-type"]
