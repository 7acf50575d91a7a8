"""What can be told of a database that cannot be reached: it names no host and no login."""

from collections.abc import Sequence

import psycopg

from muster.diagnostics.checks.model import Check, Finding

_MIGRATE = 'sam remote invoke MigrateFunction -e \'{"action": "migrate"}\' (or: make migrate)'
_UNKNOWN = "Without a connection it cannot be told."


def when_unreachable(error: psycopg.Error, duration_ms: float) -> list[Check]:
    """The checks that can be answered without a database, for anyone."""
    said = str(error).lower()
    summary, remedy = next((answer for text, answer in _REASONS if text in said), _NO_ANSWER)
    fault = Finding("fail", summary, remedy, {"sqlstate": error.sqlstate})
    unknown = Finding("skip", _UNKNOWN)
    is_tls = "ssl" in said or "certificate" in said
    connection, tls = (Finding("skip", "It ends where TLS begins: see tls."), fault) if is_tls else (fault, unknown)
    return [connection.named("connection", duration_ms), tls.named("tls", 0), unknown.named("server", 0)]


_NO_ANSWER = (
    "The database does not answer.",
    "See that the server runs (aws rds start-db-instance --db-instance-identifier DATABASE-ID starts a stopped one) "
    "and that its security group and subnets let this function in; then check host and port in DATABASE_URL.",
)
_NONE_LEFT = (
    "The database has no connection left.",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND pid <> pg_backend_pid(); "
    "-- then choose a smaller Capacity, or raise max_connections",
)
_REASONS: Sequence[tuple[str, tuple[str, str]]] = (
    (
        "password authentication failed",
        (
            "The database refuses the login.",
            "Correct user and password in DATABASE_URL or the secret; or ALTER ROLE <login> PASSWORD '<password>';",
        ),
    ),
    (
        "certificate",
        (
            "The server's certificate is not trusted.",
            "Give the CA bundle of your server: sslmode=verify-full&sslrootcert=<file> in DATABASE_URL.",
        ),
    ),
    (
        "ssl",
        (
            "The server and this function do not agree on TLS.",
            "ALTER SYSTEM SET ssl = on; on the server, or correct sslmode in DATABASE_URL.",
        ),
    ),
    ("pg_hba", ("The database refuses the login from here.", "Allow this login, address and TLS mode in pg_hba.conf.")),
    ("too many", _NONE_LEFT),
    ("remaining connection slots", _NONE_LEFT),
    ("permission denied to set role", ("The login may not act as its role.", "GRANT <role> TO <login>;")),
    ("role ", ("The login or its role does not exist.", _MIGRATE)),
    ("does not exist", ("The database of DATABASE_URL does not exist.", f"CREATE DATABASE <name>; -- then {_MIGRATE}")),
    ("starting up", ("The database is starting up.", "Wait a moment; clients keep their events and send them again.")),
    ("shutting down", ("The database is shutting down.", "Start it again; clients keep their events until then.")),
    ("recovery", ("The database is recovering.", "Wait for the recovery's end; clients keep their events.")),
)
