"""The settings of a project, as an action or a command line gives them: each is right, or refused with a sentence."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from muster.platform.errors import MusterError

CONSENT_MODES = ("off", "opt_out", "opt_in")
ANY_ORIGIN = "*"
MAX_DAYS = 36_500
MAX_ORIGINS = 100
MAX_ORIGIN_LENGTH = 300
MAX_ROLLUP_KEYS = 10
MAX_REDACTED_KEYS = 100
MAX_KEY_LENGTH = 100
# As a browser sends it: the default port is left out, and a name of other letters than these is in its xn-- form.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._~-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_DEFAULT_PORT = re.compile(r"https://.*:443|http://.*:80")


def read_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, by their column in muster.projects; a name of any other kind is refused.

    Raises:
        MusterError: a setting is unknown or cannot be used, and the message says which and what to send.
    """
    found = {}
    for name, value in given.items():
        if name not in SETTINGS:
            raise MusterError(f"There is no such setting as {_shown(name)}; known are {', '.join(SETTINGS)}.")
        column, read = SETTINGS[name]
        try:
            found[column] = read(value)
        except ValueError as error:
            raise MusterError(f"'{name}' {error}") from error
    return found


def _shown(name: Any) -> str:
    return f"'{name}'" if isinstance(name, str) and re.fullmatch(r"\w{1,50}", name) else "that"


def _time_zone(value: Any) -> str:
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError("is the IANA name of a time zone, such as Europe/Berlin.") from error


def _consent_mode(value: Any) -> str:
    if value not in CONSENT_MODES:
        raise ValueError(f"is one of {', '.join(CONSENT_MODES)}.")
    return str(value)


def _origins(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_ORIGINS:
        raise ValueError(f"is a list of at most {MAX_ORIGINS} origins; ['*'] allows every page, [] none.")
    for origin in value:
        if origin != ANY_ORIGIN and not _is_origin(origin):
            raise ValueError(
                "lists origins as browsers send them: https://app.example.com, in small letters, with a port where it "
                "is not the usual one, and without a path; or '*'."
            )
    return list(dict.fromkeys(value))


def _is_origin(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= MAX_ORIGIN_LENGTH
        and _ORIGIN.fullmatch(value) is not None
        and _DEFAULT_PORT.fullmatch(value) is None
    )


def _days(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_DAYS:
        raise ValueError(f"is a whole number of days from 1 to {MAX_DAYS}.")
    return value


def _days_or_none(value: Any) -> int | None:
    try:
        return None if value is None else _days(value)
    except ValueError as error:
        raise ValueError(f"{str(error).removesuffix('.')}, or null, which keeps events for ever.") from error


def _keys(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_ROLLUP_KEYS or len(set(map(str, value))) != len(value):
        raise ValueError(f"is a list of at most {MAX_ROLLUP_KEYS} keys of data, each once.")
    if not all(isinstance(key, str) and 0 < len(key) <= MAX_KEY_LENGTH and key.isprintable() for key in value):
        raise ValueError(f"lists keys of data, each a text of 1 to {MAX_KEY_LENGTH} characters.")
    return value


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_REDACTED_KEYS:
        raise ValueError(f"is a list of at most {MAX_REDACTED_KEYS} keys of data.")
    if not all(isinstance(key, str) and 0 < len(key) <= MAX_KEY_LENGTH and key.isprintable() for key in value):
        raise ValueError(f"lists keys of data, each a text of 1 to {MAX_KEY_LENGTH} characters.")
    return list(dict.fromkeys(key.lower() for key in value))


def _boolean(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise ValueError("is true or false.")


# By its name on the wire: the column, and what reads it.
SETTINGS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "timeZone": ("time_zone", _time_zone),
    "consentMode": ("consent_mode", _consent_mode),
    "allowedOrigins": ("allowed_origins", _origins),
    "eventWindowDays": ("event_window_days", _days),
    "retentionDays": ("retention_days", _days_or_none),
    "rollupKeys": ("rollup_keys", _keys),
    "honorsSignals": ("honors_signals", _boolean),
    "identifiesBackwards": ("identifies_backwards", _boolean),
    "redactedKeys": ("redacted_keys", _names),
    "redactsCards": ("redacts_cards", _boolean),
}
