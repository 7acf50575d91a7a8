"""The checks of the database server and the connection to it."""

import time

from muster.db.client import Connection
from muster.db.queries import query
from muster.diagnostics.checks.model import FREE_CONNECTIONS, Context, Finding

OLDEST_VERSION = 15
CONNECTIONS_WARN = 0.8
CLOCK_WARN_MS = 2_000


def connection(_: Connection, context: Context) -> Finding:
    """Whether the database answers: it does if the checks run."""
    return Finding("pass", "The database answers.", data={"connectMs": context.connect_ms})


def tls(connection: Connection, _: Context) -> Finding:
    """Whether a connection over a network is encrypted."""
    if connection.info.pgconn.ssl_in_use:
        row = connection.execute(query("diagnostics/get_tls")).fetchone()
        return Finding("pass", "The connection is encrypted.", data={"version": row[0] if row else None})
    address = connection.info.hostaddr
    if not address or address.startswith("127.") or address == "::1" or connection.info.host.startswith("/"):
        return Finding("pass", "The connection is not encrypted, but it does not leave this machine.")
    remedy = "Add sslmode=verify-full&sslrootcert=<CA bundle> to DATABASE_URL."
    return Finding("warn", "The connection is not encrypted.", remedy)


def server(connection: Connection, _: Context) -> Finding:
    """Whether the server's version is supported and it accepts writes."""
    row = connection.execute(query("diagnostics/get_server")).fetchone()
    version, in_recovery, read_only = row if row else (0, False, False)
    data = {"version": version, "inRecovery": in_recovery, "readOnly": read_only}
    if int(str(version)) // 10_000 < OLDEST_VERSION:
        return Finding(
            "fail", "PostgreSQL is older than 15.", "Upgrade the server to PostgreSQL 15, 16, 17 or 18.", data
        )
    if in_recovery:
        remedy = "Point DATABASE_URL to the writer's endpoint. To make this server the writer: SELECT pg_promote();"
        return Finding("fail", "The server is a standby and accepts no writes.", remedy, data)
    if read_only:
        remedy = (
            "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf(); "
            f'ALTER DATABASE "{connection.info.dbname}" RESET default_transaction_read_only;'
        )
        return Finding("fail", "The server is set to read-only and accepts no writes.", remedy, data)
    return Finding("pass", "The server's version is supported, and it accepts writes.", data=data)


def connections(connection: Connection, _: Context) -> Finding:
    """How many of the server's connections are in use."""
    row = connection.execute(query("diagnostics/get_connections")).fetchone()
    used, limit = (int(str(value)) for value in row) if row else (0, 1)
    data = {"used": used, "limit": limit}
    summary = f"{used} of {limit} connections are in use."
    if used > limit * CONNECTIONS_WARN:
        return Finding("warn", summary, FREE_CONNECTIONS, data)
    return Finding("pass", summary, data=data)


def clock(connection: Connection, _: Context) -> Finding:
    """Whether the clocks of this function and the database agree."""
    before = time.time()
    row = connection.execute(query("diagnostics/get_clock")).fetchone()
    after = time.time()
    # The server read its clock between our two readings.
    skew_ms = round((float(str(row[0] if row else 0)) - (before + after) / 2) * 1000)
    data = {"skewMs": skew_ms}
    if abs(skew_ms) > CLOCK_WARN_MS:
        remedy = "timedatectl set-ntp true # on the machine whose clock is wrong"
        return Finding("warn", f"The clocks of the database and this function differ by {skew_ms} ms.", remedy, data)
    return Finding("pass", "The clocks of the database and this function agree.", data=data)
