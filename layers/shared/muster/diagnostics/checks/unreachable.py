"""The checks of a database that cannot be reached. They name no host and no login, because no key was checked."""

from collections.abc import Sequence

import psycopg

from muster.diagnostics.checks.model import FREE_CONNECTIONS, Check, Finding

_MIGRATE = 'sam remote invoke MigrateFunction -e \'{"action": "migrate"}\' (or: make migrate)'
_UNKNOWN = "Not checked: there is no connection to the database."


def when_unreachable(error: psycopg.Error, duration_ms: float) -> list[Check]:
    """The results of the checks connection, tls and server, from the error of the connection attempt."""
    message = str(error).lower()
    summary, remedy = next((answer for text, answer in _REASONS if text in message), _NO_ANSWER)
    fault = Finding("fail", summary, remedy, {"sqlstate": error.sqlstate})
    unknown = Finding("skip", _UNKNOWN)
    is_tls = "ssl" in message or "certificate" in message
    connection, tls = (Finding("skip", "TLS failed. See the check tls."), fault) if is_tls else (fault, unknown)
    return [connection.named("connection", duration_ms), tls.named("tls", 0), unknown.named("server", 0)]


_NO_ANSWER = (
    "The database does not answer.",
    "aws rds start-db-instance --db-instance-identifier DATABASE-ID # if it is stopped. Otherwise check that its "
    "security group and subnets let this function in, and check the host and port in DATABASE_URL.",
)
_NONE_LEFT = ("The database has no connection left.", FREE_CONNECTIONS)
_REASONS: Sequence[tuple[str, tuple[str, str]]] = (
    (
        "password authentication failed",
        (
            "The database refuses the login.",
            "ALTER ROLE <login> PASSWORD '<password>'; -- or correct the login in DATABASE_URL or the secret",
        ),
    ),
    (
        "certificate",
        (
            "The server's certificate is not trusted.",
            "Set sslmode=verify-full&sslrootcert=<file> in DATABASE_URL; the file is the server's CA bundle.",
        ),
    ),
    (
        "ssl",
        (
            "The TLS settings of the server and this function do not match.",
            "ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf(); -- on the server, or correct sslmode in DATABASE_URL",
        ),
    ),
    (
        "pg_hba",
        (
            "pg_hba.conf of the database does not allow this connection.",
            "Allow this login, address and TLS mode in pg_hba.conf, then: SELECT pg_reload_conf();",
        ),
    ),
    ("too many", _NONE_LEFT),
    ("remaining connection slots", _NONE_LEFT),
    ("permission denied to set role", ("The login is not a member of its role.", "GRANT <role> TO <login>;")),
    ("role ", ("The login or its role does not exist.", _MIGRATE)),
    ("does not exist", ("The database in DATABASE_URL does not exist.", f"CREATE DATABASE <name>; -- then {_MIGRATE}")),
    ("starting up", ("The database is starting up.", "Wait a moment. Clients keep their events and resend them.")),
    ("shutting down", ("The database is shutting down.", "Start it again. Clients keep their events until then.")),
    ("recovery", ("The database is recovering.", "Wait until the recovery ends. Clients keep their events.")),
)
