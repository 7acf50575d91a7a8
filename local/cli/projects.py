"""`make project`, `make keys` and others: manage projects and keys with the code of the migrate function."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from local.cli.database import add_database_option, run_on_database
from local.paths import MIGRATIONS
from muster.platform.errors import MusterError
from muster.projects.actions import run_action

NOTHING = "-"

Action = Callable[..., dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 1 if it failed."""
    parser = argparse.ArgumentParser(prog="python -m local.cli.projects", description=__doc__)
    add_database_option(parser)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list all projects").set_defaults(run=_list)
    project = commands.add_parser("project", help="create a project, or change and show its settings")
    project.add_argument("name", help="the name of the project")
    project.add_argument("settings", nargs="*", metavar="setting=value", help="for example timeZone=Europe/Berlin")
    project.set_defaults(run=_project)
    keys = commands.add_parser("keys", help="list the keys of a project")
    keys.add_argument("project", help="its name or its id")
    keys.set_defaults(run=_keys)
    key = commands.add_parser("key", help="create a key")
    key.add_argument("project", help="its name or its id")
    key.add_argument("kind", help="write, read or admin; login allows logins of AdminJwtIssuer")
    key.add_argument("--note", help="the purpose of the key")
    key.set_defaults(run=_key)
    revoke = commands.add_parser("revoke", help="revoke a key at once")
    revoke.add_argument("key", help="its id, its prefix, or the key itself")
    revoke.set_defaults(run=_revoke)
    options = parser.parse_args(arguments)

    def work(url: str) -> int:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            print(options.run(lambda **event: run_action(connection, MIGRATIONS, event), options))
        return 0

    return run_on_database(options.database_url, f"make {options.command}", work)


def _list(act: Action, _: argparse.Namespace) -> str:
    projects = act(action="list_projects")["projects"]
    return "\n\n".join(map(_settings, projects)) or "There is no project yet. Create one: make project NAME='My pilot'"


def _project(act: Action, options: argparse.Namespace) -> str:
    settings = dict(map(_setting, options.settings))
    project = _find(act, options.name)
    if project is None:
        created = act(action="create_project", name=options.name, **settings)
        keys = "\n".join(f"  {kind:5} key  {key}" for kind, key in created["keys"].items())
        return f"{_settings(_find(act, options.name) or {})}\n\nThe keys of the project, shown only once:\n{keys}"
    if settings:
        project = act(action="update_project", project=project["id"], **settings)["project"]
    return _settings(project)


def _find(act: Action, name: str) -> dict[str, Any] | None:
    projects = act(action="list_projects")["projects"]
    return next((project for project in projects if project["name"] == name), None)


def _keys(act: Action, options: argparse.Namespace) -> str:
    columns = ("prefix", "kind", "createdAt", "lastUsedAt", "revokedAt", "id", "note")
    keys = act(action="list_keys", project=options.project)["keys"]
    rows = [columns, *(tuple(_shown(key[column]) for column in columns) for key in keys)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(columns))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _key(act: Action, options: argparse.Namespace) -> str:
    created = act(action="create_key", project=options.project, kind=options.kind, note=options.note)
    if created["key"] is None:
        return "The project now allows logins of AdminJwtIssuer. To stop that, revoke its key 'login' (see make keys)."
    return f"{created['key']}\n(shown only once; make keys lists it as {created['prefix']})"


def _revoke(act: Action, options: argparse.Namespace) -> str:
    key = act(action="revoke_key", key=options.key)["key"]
    return f"The {key['kind']} key {key['prefix']} ({key['id']}) was revoked at {_shown(key['revokedAt'])}."


def _setting(text: str) -> tuple[str, Any]:
    """Parse a setting: text, a number, true or false, null, or a list with commas."""
    name, separator, value = text.partition("=")
    if not separator:
        raise MusterError("A setting has the form name=value, for example timeZone=Europe/Berlin.")
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
    # A note can hold anything. Its control characters must not reach the terminal.
    return text if text.isprintable() else json.dumps(text)


if __name__ == "__main__":
    sys.exit(main())
