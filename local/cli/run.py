"""`make run`: starts a database and serves Muster on this machine until Ctrl-C."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from local.gateway.logs import FunctionLogs
from local.gateway.server import PortError, listen, serve
from local.paths import MIGRATIONS, STATE
from local.postgres import PostgresError, start_postgres
from local.state import read_keys, write_state
from muster.auth.keys import authenticate, hash_key
from muster.db.migrate import migrate
from muster.platform.errors import KeyRefused, MusterError
from muster.projects.projects import create_key, create_project

HOST = "127.0.0.1"
PROJECT_NAME = "local"
KINDS = ("write", "read", "admin")
PARAMETERS = {"Stage": "local", "DatabaseMode": "external"}
FIRST_UNPRIVILEGED_PORT = 1024
LAST_PORT = 65535


class StartError(Exception):
    """Muster cannot start. The message names the remedy."""


@dataclass(frozen=True, slots=True)
class Running:
    """A running Muster: its address, its keys and its files."""

    command: str
    url: str
    keys: dict[str, str]
    state: Path
    database: str
    log: Path
    shows_log: bool

    def announce(self) -> None:
        """Print what a person needs to use it and to stop it."""
        log = shown(self.log)
        print(
            f"\nMuster is running. Open {self.url} in a browser.\n\n"
            f"  write key  {self.keys['write']}\n"
            f"  read key   {self.keys['read']}\n"
            f"  admin key  {self.keys['admin']}\n\n"
            f"  keys       {shown(self.state)}\n"
            f"  data       {self.database}\n"
            f"  log        {log if self.shows_log else f'{log} (show it here: {self.command} LOGS=1)'}\n\n"
            f"Try it: curl {self.url}/v1/diagnostics -H 'authorization: Bearer {self.keys['read']}'\n"
            "Press Ctrl-C to stop.\n",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 1 if Muster cannot start."""
    parser = make_parser("python -m local.cli.run", __doc__, STATE)
    parser.add_argument(
        "--database-url",
        default=os.environ.get("DATABASE_URL"),
        help="your own PostgreSQL 15 to 18; default: DATABASE_URL, or else an embedded one",
    )
    return run(parser.parse_args(arguments), command="make run", on_ready=Running.announce)


def make_parser(program: str, description: str | None, state: Path) -> argparse.ArgumentParser:
    """The options that `make run` and `make demo` share."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--port", type=int, default=3000, help="the port on this machine; default: 3000")
    parser.add_argument("--state", type=Path, default=state, help="the folder for the data, the log and local.json")
    parser.add_argument("--fresh", action="store_true", help="delete the data of the embedded database first")
    parser.add_argument("--logs", action="store_true", help="show the log of the functions on this terminal too")
    parser.set_defaults(database_url=None)
    return parser


def run(options: argparse.Namespace, *, command: str, on_ready: Callable[[Running], None]) -> int:
    """Serve until Ctrl-C. `on_ready` is called once the API answers. Return the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _serve(options, command, on_ready)
    except KeyboardInterrupt:  # Ctrl-C before the server was ready
        pass
    except PortError as error:
        is_free_to_use = FIRST_UNPRIVILEGED_PORT <= options.port < LAST_PORT
        return _failed(f"{error} Choose another one: {command} PORT={options.port + 1 if is_free_to_use else 3000}")
    except (StartError, MusterError, PostgresError) as error:
        return _failed(str(error))
    except psycopg.Error as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return _failed(f"The database cannot be used: {reason}. Check DATABASE_URL, or leave it out.")
    print("Stopped.", flush=True)
    return 0


def environment_of(database_url: str) -> dict[str, str]:
    """The variables that the functions need on this machine."""
    return {"DATABASE_URL": database_url, "MIGRATIONS_DIR": str(MIGRATIONS)}


def prepare(database_url: str, keys: dict[str, str], log: Path) -> dict[str, str]:
    """Migrate the database. Return the given keys, or new ones if they are not valid in it."""
    with psycopg.connect(database_url, autocommit=True, connect_timeout=5) as connection:
        # The log lines of the migrations are for programs, so they go to the file.
        with log.open("a", encoding="utf-8") as file, redirect_stdout(file):
            applied = len(migrate(connection, MIGRATIONS).applied)
        print(_migrations_sentence(applied), flush=True)
        if not all(_is_valid(connection, keys.get(kind)) for kind in KINDS):
            project_id = _project(connection)
            keys = {kind: create_key(connection, project_id, kind, "make run") for kind in KINDS}
        return keys


def shown(path: Path) -> str:
    """A path as a person reads it: relative to the current folder if it is in there."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _serve(options: argparse.Namespace, command: str, on_ready: Callable[[Running], None]) -> None:
    state = options.state / "local.json"
    with listen(HOST, options.port) as listener:
        log = _start_log(options.state)
        with _database(options, command) as (database_url, database):
            keys = prepare(database_url, read_keys(state), log)

            def announce(url: str) -> None:
                write_state(state, url=url, database_url=database_url, keys=keys)
                on_ready(Running(command, url, keys, state, database, log, shows_log=options.logs))

            serve(
                listener,
                environment=environment_of(database_url),
                parameters=PARAMETERS,
                logs=FunctionLogs(file=log, console=sys.stderr if options.logs else None),
                on_ready=announce,
            )


def _start_log(folder: Path) -> Path:
    """An empty log file. The log of the last run gets the ending .1."""
    log = folder / "functions.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(folder / "functions.log.1")
        log.touch()
    except PermissionError as error:
        raise StartError(f"Your user may not write to {shown(folder)}. Give it access to this folder.") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise StartError(f"A file is where the folder {shown(folder)} should be. Remove that file.") from error
    except OSError as error:
        raise StartError(f"Muster cannot write to {shown(folder)}: {error.strerror}.") from error
    return log


@contextmanager
def _database(options: argparse.Namespace, command: str) -> Iterator[tuple[str, str]]:
    """The URL of the database, and where its data is in words."""
    if options.database_url:
        if options.fresh:
            raise StartError(
                "FRESH=1 deletes the data of the embedded database only. Leave out FRESH=1, or leave out DATABASE_URL."
            )
        print("Using the database of DATABASE_URL.", flush=True)
        yield options.database_url, "in the database of DATABASE_URL"
        return
    print(f"Starting Postgres{' with an empty database' if options.fresh else ''}.", flush=True)
    with start_postgres(options.state / "postgres", fresh=options.fresh) as postgres:
        yield postgres.url, f"{shown(postgres.data)} (start over: {command} FRESH=1)"


def _migrations_sentence(applied: int) -> str:
    if applied == 0:
        return "The database is up to date."
    return f"Applied {applied} {'migration' if applied == 1 else 'migrations'}."


def _project(connection: psycopg.Connection[Any]) -> Any:
    row = connection.execute("SELECT id FROM muster.projects WHERE name = %s", (PROJECT_NAME,)).fetchone()
    return row[0] if row else create_project(connection, PROJECT_NAME)


def _is_valid(connection: psycopg.Connection[Any], key: str | None) -> bool:
    try:
        authenticate(connection, hash_key(key), KINDS)
    except KeyRefused:
        return False
    return True


def _failed(message: str) -> int:
    print(message, file=sys.stderr, flush=True)
    return 1


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
