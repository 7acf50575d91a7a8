"""`make project`, `make keys` and the like: projects and their keys, with the code of the function migrate."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from local.paths import MIGRATIONS
from local.state import database_url
from muster.platform.errors import MusterError
from muster.projects.actions import run_action

NOTHING = "-"

Action = Callable[..., dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m local.cli.projects", description="Projects and their keys.")
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL"), help="default: that of make run")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all projects").set_defaults(run=_list)
    project = commands.add_parser("project", help="a project: made where there is none, and its settings")
    project.add_argument("name")
    project.add_argument("settings", nargs="*", metavar="setting=value", help="such as timeZone=Europe/Berlin")
    project.set_defaults(run=_project)
    keys = commands.add_parser("keys", help="a project's keys")
    keys.add_argument("project", help="its name or its id")
    keys.set_defaults(run=_keys)
    key = commands.add_parser("key", help="one key more")
    key.add_argument("project", help="its name or its id")
    key.add_argument("kind", help="write, read or admin; login takes logins of AdminJwtIssuer")
    key.add_argument("--note", help="what it is for")
    key.set_defaults(run=_key)
    revoke = commands.add_parser("revoke", help="end a key, at once")
    revoke.add_argument("key", help="its id, its prefix, or the key itself")
    revoke.set_defaults(run=_revoke)
    options = parser.parse_args(arguments)
    try:
        url = database_url(options.database_url, f"make {options.command}")
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            print(options.run(lambda **event: run_action(connection, MIGRATIONS, event), options))
    except MusterError as error:
        print(error, file=sys.stderr)
        return 1
    except psycopg.OperationalError as error:
        print(f"The database cannot be reached: {error}", file=sys.stderr)
        return 1
    return 0


def _list(act: Action, _: argparse.Namespace) -> str:
    projects = act(action="list_projects")["projects"]
    return "\n\n".join(map(_settings, projects)) or "There is no project yet: make project NAME='My pilot'"


def _project(act: Action, options: argparse.Namespace) -> str:
    settings = dict(map(_setting, options.settings))
    there = {project["name"]: project for project in act(action="list_projects")["projects"]}
    if options.name not in there:
        made = act(action="create_project", name=options.name, **settings)
        there = {project["name"]: project for project in act(action="list_projects")["projects"]}
        keys = "\n".join(f"  {kind:5} key  {key}" for kind, key in made["keys"].items())
        return f"{_settings(there[options.name])}\n\nIts keys, shown this one time:\n{keys}"
    if settings:
        there[options.name] = act(action="update_project", project=there[options.name]["id"], **settings)["project"]
    return _settings(there[options.name])


def _keys(act: Action, options: argparse.Namespace) -> str:
    columns = ("prefix", "kind", "createdAt", "lastUsedAt", "revokedAt", "id", "note")
    keys = act(action="list_keys", project=options.project)["keys"]
    rows = [columns, *(tuple(_shown(key[column]) for column in columns) for key in keys)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(columns))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _key(act: Action, options: argparse.Namespace) -> str:
    made = act(action="create_key", project=options.project, kind=options.kind, note=options.note)
    if made["key"] is None:
        return "The project takes logins of AdminJwtIssuer now; revoke the key 'login' of make keys to end that."
    return f"{made['key']}\n(shown this one time; it is listed as {made['prefix']})"


def _revoke(act: Action, options: argparse.Namespace) -> str:
    key = act(action="revoke_key", key=options.key)["key"]
    return f"The {key['kind']} key {key['prefix']} ({key['id']}) is revoked since {_shown(key['revokedAt'])}."


def _setting(text: str) -> tuple[str, Any]:
    """A setting as typed: a number, null, or a list by commas where that is what it is."""
    name, separator, value = text.partition("=")
    if not separator:
        raise MusterError("A setting is given as name=value, such as timeZone=Europe/Berlin.")
    if name in ("allowedOrigins", "rollupKeys", "redactedKeys"):
        return name, [part for part in value.split(",") if part]
    if name in ("eventWindowDays", "retentionDays"):
        return name, None if value in ("", "null") else int(value) if value.isdecimal() else value
    if value in ("true", "false"):
        return name, value == "true"
    return name, value


def _settings(project: Mapping[str, Any]) -> str:
    settings = {name: _shown(value) for name, value in project.items() if name not in ("id", "name")}
    width = max(map(len, settings))
    lines = [f"  {name:{width}}  {value}" for name, value in settings.items()]
    return "\n".join([f"{project['name']} ({project['id']})", *lines])


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value) or NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    text = NOTHING if value is None else str(value)
    # A note is whatever somebody wrote; control characters would reach the terminal.
    return text if text.isprintable() else json.dumps(text)


if __name__ == "__main__":
    sys.exit(main())
