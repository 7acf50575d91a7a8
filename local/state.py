"""Finds the server, its keys and the database that a command is for: those named, or those of `make run`."""

import json
from dataclasses import dataclass
from pathlib import Path

import httpx

from local.paths import STATE
from muster.platform.errors import MusterError

LOCAL_STATE = STATE / "local.json"


class NoTarget(Exception):
    """It is not known where to send to, or with which key."""


@dataclass(frozen=True)
class Target:
    """Where to send to."""

    url: str
    key: str
    read_key: str


def find_target(url: str | None, key: str | None, read_key: str | None, *, state: Path = LOCAL_STATE) -> Target:
    """The server named on the command line, else the one that `make run` started last.

    Raises:
        NoTarget: when there is neither, or when it cannot be one.
    """
    local = _read_state(state)
    if local and (url is None or url.rstrip("/") == local.url.rstrip("/")):
        # A key given may be another project's, so the metrics are read with it as well.
        target = Target(local.url, key or local.key, read_key or key or local.read_key)
    elif url is None:
        raise NoTarget(
            "No local server is known: start one with `make run`, or name another with URL= and KEY= (its admin key)."
        )
    elif key is None:
        raise NoTarget(f"The keys of {url} are not known: give its admin key with KEY=.")
    else:
        target = Target(url, key, read_key or key)
    _check(target)
    return target


def _read_state(state: Path) -> Target | None:
    try:
        written = json.loads(state.read_text("utf-8"))
        return Target(written["url"], written["keys"]["admin"], written["keys"]["read"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NoTarget(f"{state.parent.name}/{state.name} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        name = f"{state.parent.name}/{state.name}"
        raise NoTarget(f"{name} is damaged; remove it, and make run writes it anew.") from error


def _check(target: Target) -> None:
    try:
        parts = httpx.URL(target.url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise NoTarget(f"{target.url} is no URL of a server: it begins with http:// or https:// and a host.")
    for key in (target.key, target.read_key):
        if not key.isascii() or not key.isprintable() or " " in key:
            raise NoTarget("That is no key: it is one word, and begins with ma_.")


def database_url(named: str | None, command: str, *, state: Path = LOCAL_STATE) -> str:
    """The URL that was named, else that of `make run`; `command` is what an engineer typed.

    Raises:
        MusterError: when there is neither.
    """
    if named:
        return named
    try:
        return str(json.loads(state.read_text("utf-8"))["databaseUrl"])
    except FileNotFoundError:
        message = f"Name a database: {command} DATABASE_URL=postgresql://…, or start one first with make run."
        raise MusterError(message) from None
