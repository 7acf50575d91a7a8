"""`make run`: a database, its schema, a project with keys, and the API, on this machine."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from local.gateway.logs import FunctionLogs
from local.gateway.server import serve
from local.paths import MIGRATIONS, STATE
from local.postgres import PostgresError, start_postgres
from muster.auth.keys import authenticate, hash_key
from muster.db.migrate import migrate
from muster.platform.errors import KeyRefused, MusterError
from muster.projects.projects import create_key, create_project

PROJECT_NAME = "local"
KINDS = ("write", "read", "admin")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m local.cli.run", description="Serve Muster on this machine.")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument(
        "--database-url", default=os.environ.get("DATABASE_URL"), help="PostgreSQL 15 to 18 of your own"
    )
    parser.add_argument("--state", type=Path, default=STATE, help="the folder of the data and of local.json")
    parser.add_argument("--fresh", action="store_true", help="start over with an empty embedded database")
    parser.add_argument("--logs", type=Path, help="a folder for the functions' lines, instead of this terminal")
    options = parser.parse_args(arguments)
    try:
        with _database(options.database_url, options.state, fresh=options.fresh) as database_url:
            keys = _prepare(database_url, options.state / "local.json")
            serve(
                port=options.port,
                environment={"DATABASE_URL": database_url, "MIGRATIONS_DIR": str(MIGRATIONS)},
                parameters={"Stage": "local", "DatabaseMode": "external"},
                logs=FunctionLogs(directory=options.logs) if options.logs else None,
                on_ready=lambda url: _announce(options.state / "local.json", url, database_url, keys),
            )
    except (MusterError, PostgresError) as error:
        return _failed(str(error))
    except psycopg.Error as error:
        return _failed(f"The database cannot be used: {error}")
    except OSError as error:
        return _failed(f"Port {options.port} cannot be used: {error.strerror}. Choose another: make run PORT=3001")
    print("Stopped.", flush=True)
    return 0


@contextmanager
def _database(database_url: str | None, state: Path, *, fresh: bool) -> Iterator[str]:
    if database_url:
        if fresh:
            raise MusterError(
                "FRESH=1 empties the embedded database only; yours is left alone. Leave out one of the two."
            )
        print("Using the database of DATABASE_URL.", flush=True)
        yield database_url
        return
    print(f"Starting the embedded Postgres{', empty' if fresh else ''}.", flush=True)
    with start_postgres(state / "postgres", fresh=fresh) as postgres:
        if postgres.data != (state / "postgres").absolute():
            print(f"Its data is in {postgres.data}: the server's user cannot reach this folder.", flush=True)
        yield postgres.url


def _prepare(database_url: str, state: Path) -> dict[str, str]:
    with psycopg.connect(database_url, autocommit=True, connect_timeout=5) as connection:
        report = migrate(connection, MIGRATIONS)
        print(f"Migrated: {len(report.applied)} applied, {len(report.already_applied)} already there.", flush=True)
        keys = _known_keys(state)
        if not all(_is_valid(connection, keys.get(kind)) for kind in KINDS):
            project_id = _project(connection)
            keys = {kind: create_key(connection, project_id, kind, "make run") for kind in KINDS}
        return keys


def _project(connection: psycopg.Connection[Any]) -> Any:
    row = connection.execute("SELECT id FROM muster.projects WHERE name = %s", (PROJECT_NAME,)).fetchone()
    return row[0] if row else create_project(connection, PROJECT_NAME)


def _is_valid(connection: psycopg.Connection[Any], key: str | None) -> bool:
    try:
        authenticate(connection, hash_key(key), KINDS)
    except KeyRefused:
        return False
    return True


def _known_keys(state: Path) -> dict[str, str]:
    try:
        written = json.loads(state.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise MusterError(f"{state} is not JSON; remove it, and make run writes it anew.") from error
    return dict(written.get("keys", {}))


def _announce(state: Path, url: str, database_url: str, keys: dict[str, str]) -> None:
    state.parent.mkdir(exist_ok=True)
    partial = state.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps({"url": url, "databaseUrl": database_url, "keys": keys}, indent=2) + "\n", "utf-8")
    partial.replace(state)
    print(
        f"\nMuster serves on {url}\n"
        f"  write key  {keys['write']}\n"
        f"  read key   {keys['read']}\n"
        f"  admin key  {keys['admin']}\n"
        f"  (also in .muster/local.json, with the database's URL)\n\n"
        f"  curl {url}/v1/diagnostics -H 'authorization: Bearer {keys['read']}'\n\n"
        "Ctrl-C stops it.\n",
        flush=True,
    )


def _failed(message: str) -> int:
    print(message, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
