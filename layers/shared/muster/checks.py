"""The checks of diagnostics: each looks at one part and says whether it works, and if not what to do."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import psycopg

from muster.database import Connection, call
from muster.models import WireModel
from muster.schema import Verification
from muster.schema_differences import Difference
from muster.settings import Settings
from muster.sql import query

CheckStatus = Literal["pass", "warn", "fail", "skip"]
OLDEST_VERSION = 15
CONNECTIONS_WARN = 0.8
CLOCK_WARN_MS = 2_000
LISTED = 20
_MIGRATE = 'Invoke the function migrate with {"action": "migrate"}, or run: make migrate'


class Check(WireModel):
    """One part's state."""

    name: str
    status: CheckStatus
    summary: str
    remedy: str | None
    duration_ms: float
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    status: CheckStatus
    summary: str
    remedy: str | None = None
    data: dict[str, Any] = field(default_factory=dict)

    def named(self, name: str, duration_ms: float) -> Check:
        """The finding as a check's result."""
        return Check(
            name=name,
            status=self.status,
            summary=self.summary,
            remedy=self.remedy,
            duration_ms=duration_ms,
            data=self.data,
        )


@dataclass(frozen=True, slots=True)
class Context:
    """What checks need to know beside the connection."""

    settings: Settings
    connect_ms: float
    verification: Verification | None
    """None when the schema could not be read."""
    project_id: UUID | None


Function = Callable[[Connection, Context], Finding]


def when_unreachable(error: psycopg.Error, duration_ms: float) -> list[Check]:
    """The checks that can be answered without a database, for anyone: they name no host and no login."""
    said = str(error).lower()
    summary, remedy = next((answer for text, answer in _UNREACHABLE if text in said), _NO_ANSWER)
    tls_failed = "ssl" in said or "certificate" in said
    tls = Finding("fail", summary, remedy) if tls_failed else Finding("skip", "Without a connection it cannot be told.")
    return [
        Finding("fail", summary, remedy, {"sqlstate": error.sqlstate}).named("connection", duration_ms),
        tls.named("tls", 0),
        Finding("skip", "Without a connection it cannot be told.").named("server", 0),
    ]


_NO_ANSWER = (
    "The database does not answer.",
    "See that the server runs and that its security group and subnets let this function in; then check host and port "
    "in DATABASE_URL.",
)
_UNREACHABLE: Sequence[tuple[str, tuple[str, str]]] = (
    (
        "password authentication failed",
        ("The database refuses the login.", "Correct user and password in DATABASE_URL, or rotate the secret."),
    ),
    (
        "certificate",
        (
            "The server's certificate is not trusted.",
            "Use the CA bundle of your server in sslrootcert of DATABASE_URL.",
        ),
    ),
    ("ssl", ("The server and this function do not agree on TLS.", "Correct sslmode in DATABASE_URL.")),
    ("pg_hba", ("The database refuses the login from here.", "Allow this login, address and TLS mode in pg_hba.conf.")),
    (
        "too many",
        (
            "The database has no connection left.",
            "End idle ones (SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle';), raise "
            "max_connections, or lower the functions' reserved concurrency.",
        ),
    ),
    ("remaining connection slots", ("The database has no connection left.", "Raise max_connections.")),
    ("role ", ("The login or its role does not exist.", _MIGRATE)),
    ("does not exist", ("The database of DATABASE_URL does not exist.", "CREATE DATABASE <name>; then " + _MIGRATE)),
    ("permission denied to set role", ("The login may not act as its role.", "GRANT <role> TO <login>;")),
    ("starting up", ("The database is starting up.", "Wait a moment; clients keep their events and send them again.")),
    ("shutting down", ("The database is shutting down.", "Start it again; clients keep their events until then.")),
    ("recovery", ("The database is recovering.", "Wait for the recovery's end; clients keep their events.")),
)


def refused(error: psycopg.Error) -> Finding:
    """What a check found that PostgreSQL did not let finish."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        return Finding(
            "warn", "It took too long to tell.", "Look at the server's load: SELECT * FROM pg_stat_activity;"
        )
    summary = f"PostgreSQL refuses the check with SQLSTATE {error.sqlstate}."
    return Finding("fail", summary, "Do what the checks migrations, schema and grants say: it may be the same fault.")


def _connection(_: Connection, context: Context) -> Finding:
    return Finding("pass", "The database answers.", data={"connectMs": context.connect_ms})


def _tls(connection: Connection, _: Context) -> Finding:
    if connection.info.pgconn.ssl_in_use:
        row = connection.execute(query("get_tls")).fetchone()
        return Finding("pass", "The connection is encrypted.", data={"version": row[0] if row else None})
    address = connection.info.hostaddr
    if not address or address.startswith("127.") or address == "::1" or connection.info.host.startswith("/"):
        return Finding("pass", "The connection is not encrypted and does not leave this machine.")
    remedy = "Add sslmode=verify-full and sslrootcert to DATABASE_URL."
    return Finding("warn", "The connection is not encrypted.", remedy)


def _server(connection: Connection, _: Context) -> Finding:
    row = connection.execute(query("get_server")).fetchone()
    version, in_recovery, read_only = row if row else (0, False, False)
    data = {"version": version, "inRecovery": in_recovery, "readOnly": read_only}
    if int(str(version)) // 10_000 < OLDEST_VERSION:
        return Finding("fail", "This PostgreSQL is older than 15.", "Upgrade the server to PostgreSQL 15 to 18.", data)
    if in_recovery or read_only:
        remedy = (
            "Point DATABASE_URL to the writer's endpoint; where the server itself was set read-only: "
            "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf();"
        )
        return Finding("fail", "The server takes no writes: it is a standby or read-only.", remedy, data)
    return Finding("pass", "The server's version is supported and it takes writes.", data=data)


def _differing(context: Context, *kinds: str) -> list[Difference]:
    listed = context.verification.differences if context.verification else []
    return [difference for difference in listed if difference.object.split()[0] in kinds]


def _compared(context: Context, well: str, *kinds: str) -> Finding:
    if context.verification is None:
        return Finding("fail", "The schema could not be read.", "See the server's log.")
    found = _differing(context, *kinds)
    extra = [
        difference.sentence for difference in context.verification.unexpected if difference.object.split()[0] in kinds
    ]
    if not found:
        return Finding("pass", well, data={"unexpected": extra[:LISTED]} if extra else {})
    listed = [
        {"object": difference.object, "problem": difference.problem, "remedy": difference.remedy}
        for difference in found[:LISTED]
    ]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    remedy = "\n".join(difference.remedy for difference in found[:LISTED])
    return Finding("fail", f"{found[0].sentence.rstrip('.')}{more}.", remedy, {"differences": listed})


def _migrations(_: Connection, context: Context) -> Finding:
    return _compared(context, "Every shipped migration is applied, and no other.", "migration")


def _schema(_: Connection, context: Context) -> Finding:
    well = "Every table, column, index, constraint and function is as the migrations make it."
    return _compared(context, well, "table", "column", "index", "constraint", "function")


def _grants(_: Connection, context: Context) -> Finding:
    return _compared(context, "Each role may do what it must.", "role", "grant")


def _partitions(_: Connection, context: Context) -> Finding:
    return _compared(context, "There are partitions for this month and those to come.", "partition")


def _write_canary(connection: Connection, context: Context) -> Finding:
    answer = call(connection, "write_canary", {"project_id": context.project_id})
    if answer.get("ok"):
        return Finding("pass", "An event went through the ingest path, and was taken back.")
    data = {"sqlstate": answer.get("sqlstate"), "table": answer.get("table") or None}
    summary = f"An event cannot be stored: SQLSTATE {answer.get('sqlstate')}."
    return Finding(
        "fail",
        summary,
        "Do what the failing ones of server, migrations, schema, grants and partitions say; it is the same fault.",
        data,
    )


def _ingest_recent(connection: Connection, context: Context) -> Finding:
    row = connection.execute(query("get_last_event"), {"project_id": context.project_id}).fetchone()
    if row is None:
        return Finding("pass", "No event has arrived yet.", "Post one: the README shows how with curl.")
    last, recent = row
    data = {"lastReceivedAt": last}
    if recent:
        return Finding("pass", "Events have arrived within a day.", data=data)
    remedy = "See that the apps send to this API with a current write key: a GET of /healthz from there must answer."
    return Finding("warn", "No event has arrived for a day.", remedy, data)


def _rejections(connection: Connection, context: Context) -> Finding:
    rows = connection.execute(query("get_recent_rejections"), {"project_id": context.project_id}).fetchall()
    reasons = {str(reason): count for reason, count in rows}
    if not reasons:
        return Finding("pass", "Nothing was rejected within a day.")
    remedy = (
        "SELECT reason, details, payload, session_id, last_received_at FROM muster.analytics_rejections "
        f"WHERE project_id = '{context.project_id}' ORDER BY last_received_at DESC LIMIT 20;"
    )
    total = sum(int(str(count)) for count in reasons.values())
    return Finding("warn", f"{total} events or requests were rejected within a day.", remedy, {"byReason": reasons})


def _consent(connection: Connection, context: Context) -> Finding:
    row = connection.execute(query("get_consent_state"), {"project_id": context.project_id}).fetchone()
    mode, granted, ignored = row if row else ("off", 0, 0)
    data = {"mode": mode, "granted": granted, "ignoredWithinADay": ignored}
    if mode == "opt_in" and not granted:
        remedy = (
            "Record consent before events are sent, or change the mode: "
            f"UPDATE muster.projects SET consent_mode = 'opt_out' WHERE id = '{context.project_id}';"
        )
        return Finding("warn", "Events need consent, and nobody has given it: all are ignored.", remedy, data)
    return Finding("pass", f"Consent mode is {mode}; what it forbids is ignored.", data=data)


def _queue(_: Connection, __: Context) -> Finding:
    return Finding("skip", "Ingest is direct: there is no queue.")


def _rollups(_: Connection, __: Context) -> Finding:
    return Finding("skip", "Metrics are answered from the events themselves.")


def _connections(connection: Connection, _: Context) -> Finding:
    row = connection.execute(query("get_connections")).fetchone()
    used, limit = (int(str(value)) for value in row) if row else (0, 1)
    data = {"used": used, "limit": limit}
    if used > limit * CONNECTIONS_WARN:
        remedy = "Raise max_connections, or lower the functions' reserved concurrency."
        return Finding("warn", f"{used} of {limit} connections are in use.", remedy, data)
    return Finding("pass", f"{used} of {limit} connections are in use.", data=data)


def _clock(connection: Connection, _: Context) -> Finding:
    before = time.time()
    row = connection.execute(query("get_clock")).fetchone()
    after = time.time()
    # The server looked at its clock somewhere between our two looks.
    skew_ms = round((float(str(row[0] if row else 0)) - (before + after) / 2) * 1000)
    data = {"skewMs": skew_ms}
    if abs(skew_ms) > CLOCK_WARN_MS:
        remedy = "Let both machines take their time from NTP."
        return Finding("warn", f"The database's clock is {skew_ms} ms from this function's.", remedy, data)
    return Finding("pass", "The clocks agree.", data=data)


CHECKS: dict[str, Function] = {
    "connection": _connection,
    "tls": _tls,
    "server": _server,
    "migrations": _migrations,
    "schema": _schema,
    "grants": _grants,
    "write_canary": _write_canary,
    "partitions": _partitions,
    "ingest_recent": _ingest_recent,
    "rejections": _rejections,
    "consent": _consent,
    "queue": _queue,
    "rollups": _rollups,
    "connections": _connections,
    "clock": _clock,
}
# What may be told when a key cannot be looked up: it says nothing of any project.
WITHOUT_A_PROJECT = ("connection", "tls", "server", "migrations", "schema", "grants", "partitions")
