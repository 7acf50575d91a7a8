"""Reads and writes `.muster/local.json`, which describes what runs on this machine, and finds the target of a command.

A command uses the server or database that its options name, or else that of `make run`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import httpx

from local.paths import STATE
from muster.platform.errors import MusterError

LOCAL_STATE = STATE / "local.json"


class NoTarget(Exception):
    """The server or its key is unknown. The message says how to name it."""


@dataclass(frozen=True)
class Target:
    """A server and the keys for it."""

    url: str
    key: str
    read_key: str


def write_state(file: Path, *, url: str, database_url: str, keys: dict[str, str]) -> None:
    """Describe the running server. Only this user can read the file, because it holds keys."""
    partial = file.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps({"url": url, "databaseUrl": database_url, "keys": keys}, indent=2) + "\n", "utf-8")
    partial.replace(file)


def read_keys(file: Path) -> dict[str, str]:
    """The keys of an earlier run. Empty if there was none.

    Raises:
        MusterError: the file is damaged.
    """
    try:
        return dict(json.loads(file.read_text("utf-8")).get("keys", {}))
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError) as error:
        raise MusterError(f"{file} is damaged. Remove it, and make run will write it again.") from error


def find_target(url: str | None, key: str | None, read_key: str | None, *, state: Path = LOCAL_STATE) -> Target:
    """The server that the command names, or else the one that `make run` started last.

    Raises:
        NoTarget: there is neither, or the URL or a key is not valid.
    """
    local = _read_target(state)
    if local and (url is None or url.rstrip("/") == local.url.rstrip("/")):
        # The given key may belong to another project, so read the metrics with it too.
        target = Target(local.url, key or local.key, read_key or key or local.read_key)
    elif url is None:
        raise NoTarget("No server is known. Start one with `make run`, or name one with URL= and KEY= (its admin key).")
    elif key is None:
        raise NoTarget(f"The keys of {url} are not known. Name its admin key with KEY=.")
    else:
        target = Target(url, key, read_key or key)
    _check(target)
    return target


def database_url(named: str | None, command: str, *, state: Path = LOCAL_STATE) -> str:
    """The URL that the command names, or else that of `make run`.

    Raises:
        MusterError: there is neither, or the file is damaged. The message shows how to name a database.
    """
    if named:
        return named
    try:
        return str(json.loads(state.read_text("utf-8"))["databaseUrl"])
    except FileNotFoundError:
        message = f"No database is known. Start one with make run, or name one: {command} DATABASE_URL=postgresql://…"
        raise MusterError(message) from None
    except (ValueError, KeyError, TypeError) as error:
        raise MusterError(f"{state} is damaged. Remove it, and make run will write it again.") from error


def _read_target(state: Path) -> Target | None:
    try:
        written = json.loads(state.read_text("utf-8"))
        return Target(written["url"], written["keys"]["admin"], written["keys"]["read"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NoTarget(f"{state.parent.name}/{state.name} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        name = f"{state.parent.name}/{state.name}"
        raise NoTarget(f"{name} is damaged. Remove it, and make run will write it again.") from error


def _check(target: Target) -> None:
    try:
        parts = httpx.URL(target.url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise NoTarget(f"{target.url} is not the URL of a server. It must begin with http:// or https:// and a host.")
    for key in (target.key, target.read_key):
        if not key.isascii() or not key.isprintable() or " " in key:
            raise NoTarget("This is not a key. A key is one word and begins with ma_ or mr_.")
