"""The checks of the server and the way to it."""

import time

from muster.db.client import Connection
from muster.db.queries import query
from muster.diagnostics.checks.model import Context, Finding

OLDEST_VERSION = 15
CONNECTIONS_WARN = 0.8
CLOCK_WARN_MS = 2_000


def connection(_: Connection, context: Context) -> Finding:
    """The way to the database."""
    return Finding("pass", "The database answers.", data={"connectMs": context.connect_ms})


def tls(connection: Connection, _: Context) -> Finding:
    """Whether what goes over a network is encrypted."""
    if connection.info.pgconn.ssl_in_use:
        row = connection.execute(query("diagnostics/get_tls")).fetchone()
        return Finding("pass", "The connection is encrypted.", data={"version": row[0] if row else None})
    address = connection.info.hostaddr
    if not address or address.startswith("127.") or address == "::1" or connection.info.host.startswith("/"):
        return Finding("pass", "The connection is not encrypted and does not leave this machine.")
    remedy = "Add sslmode=verify-full&sslrootcert=<CA bundle> to DATABASE_URL."
    return Finding("warn", "The connection is not encrypted.", remedy)


def server(connection: Connection, _: Context) -> Finding:
    """Whether the server is one that Muster knows, and takes writes."""
    row = connection.execute(query("diagnostics/get_server")).fetchone()
    version, in_recovery, read_only = row if row else (0, False, False)
    data = {"version": version, "inRecovery": in_recovery, "readOnly": read_only}
    if int(str(version)) // 10_000 < OLDEST_VERSION:
        return Finding("fail", "This PostgreSQL is older than 15.", "Upgrade the server to PostgreSQL 15 to 18.", data)
    if in_recovery:
        remedy = "Point DATABASE_URL to the writer's endpoint, or SELECT pg_promote(); where this is to be the writer."
        return Finding("fail", "The server takes no writes: it is a standby.", remedy, data)
    if read_only:
        remedy = (
            "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf(); "
            f'ALTER DATABASE "{connection.info.dbname}" RESET default_transaction_read_only;'
        )
        return Finding("fail", "The server takes no writes: it was set read-only.", remedy, data)
    return Finding("pass", "The server's version is supported and it takes writes.", data=data)


def connections(connection: Connection, _: Context) -> Finding:
    """How many of the server's connections are taken."""
    row = connection.execute(query("diagnostics/get_connections")).fetchone()
    used, limit = (int(str(value)) for value in row) if row else (0, 1)
    data = {"used": used, "limit": limit}
    if used > limit * CONNECTIONS_WARN:
        remedy = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND pid <> pg_backend_pid(); "
            "-- then choose a smaller Capacity, or raise max_connections"
        )
        return Finding("warn", f"{used} of {limit} connections are in use.", remedy, data)
    return Finding("pass", f"{used} of {limit} connections are in use.", data=data)


def clock(connection: Connection, _: Context) -> Finding:
    """Whether this function and the database tell the same time."""
    before = time.time()
    row = connection.execute(query("diagnostics/get_clock")).fetchone()
    after = time.time()
    # The server looked at its clock somewhere between our two looks.
    skew_ms = round((float(str(row[0] if row else 0)) - (before + after) / 2) * 1000)
    data = {"skewMs": skew_ms}
    if abs(skew_ms) > CLOCK_WARN_MS:
        remedy = "Let both machines take their time from NTP (timedatectl set-ntp true)."
        return Finding("warn", f"The database's clock is {skew_ms} ms from this function's.", remedy, data)
    return Finding("pass", "The clocks agree.", data=data)
