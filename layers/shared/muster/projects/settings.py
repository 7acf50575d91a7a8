"""Validates the settings of a project, as an action or a command line gives them."""

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
# As a browser sends it: without the default port, and with other letters in their xn-- form.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._~-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_DEFAULT_PORT = re.compile(r"https://.*:443|http://.*:80")


def read_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Validate settings; returns them by column of muster.projects.

    Raises:
        MusterError: a setting is unknown or invalid; the message says which and what to send.
    """
    found = {}
    for name, value in given.items():
        if name not in SETTINGS:
            raise MusterError(f"Unknown setting{_shown(name)}. The settings are {', '.join(SETTINGS)}.")
        column, read = SETTINGS[name]
        try:
            found[column] = read(value)
        except ValueError as error:
            raise MusterError(f"'{name}' {error}") from error
    return found


def _shown(name: Any) -> str:
    return f" '{name}'" if isinstance(name, str) and re.fullmatch(r"\w{1,50}", name) else ""


def _time_zone(value: Any) -> str:
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError("must be the IANA name of a time zone, such as Europe/Berlin.") from error


def _consent_mode(value: Any) -> str:
    if value not in CONSENT_MODES:
        raise ValueError(f"must be one of {', '.join(CONSENT_MODES)}.")
    return str(value)


def _origins(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_ORIGINS:
        raise ValueError(f"must be a list of at most {MAX_ORIGINS} origins. ['*'] allows every page, [] allows none.")
    for origin in value:
        if origin != ANY_ORIGIN and not _is_origin(origin):
            raise ValueError(
                "must list origins as browsers send them, such as https://app.example.com: in lower case, without a "
                "path, and with a port only if it is not the default; or '*'."
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
        raise ValueError(f"must be a whole number of days from 1 to {MAX_DAYS}.")
    return value


def _days_or_none(value: Any) -> int | None:
    try:
        return None if value is None else _days(value)
    except ValueError as error:
        raise ValueError(f"{str(error).removesuffix('.')}, or null to keep events forever.") from error


def _rollup_keys(value: Any) -> list[str]:
    keys = _data_keys(value, MAX_ROLLUP_KEYS)
    if len(set(keys)) != len(keys):
        raise ValueError("must list each key once.")
    return keys


def _redacted_keys(value: Any) -> list[str]:
    return list(dict.fromkeys(key.lower() for key in _data_keys(value, MAX_REDACTED_KEYS)))


def _data_keys(value: Any, most: int) -> list[str]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"must be a list of at most {most} keys of data.")
    if not all(isinstance(key, str) and 0 < len(key) <= MAX_KEY_LENGTH and key.isprintable() for key in value):
        raise ValueError(f"must list keys of data, each a string of 1 to {MAX_KEY_LENGTH} characters.")
    return value


def _boolean(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise ValueError("must be true or false.")


# By wire name: the column, and the function that validates the value.
SETTINGS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "timeZone": ("time_zone", _time_zone),
    "consentMode": ("consent_mode", _consent_mode),
    "allowedOrigins": ("allowed_origins", _origins),
    "eventWindowDays": ("event_window_days", _days),
    "retentionDays": ("retention_days", _days_or_none),
    "rollupKeys": ("rollup_keys", _rollup_keys),
    "honorsSignals": ("honors_signals", _boolean),
    "identifiesBackwards": ("identifies_backwards", _boolean),
    "redactedKeys": ("redacted_keys", _redacted_keys),
    "redactsCards": ("redacts_cards", _boolean),
}
