"""The golden log lines: every field of a line and its type, with the name of its form where its value changes."""

import json
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
LEVELS = ("INFO", "WARN", "ERROR")
# Values that change from run to run. The golden files have the name of their form instead.
FORMS: dict[str, str] = {
    "batch_id": "uuid",
    "event_id": "uuid",
    "session_id": "uuid",
    "request_id": "uuid",
    "project": "uuid",
    "timestamp": "time",
    "key_prefix": "key prefix",
    "Timestamp": "milliseconds since 1970",
    "db_ms": "milliseconds",
}
LOOKS_LIKE: dict[str, Callable[[Any], bool]] = {
    "uuid": lambda value: isinstance(value, str) and str(uuid.UUID(value)) == value,
    "time": lambda value: bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", value)),
    "key prefix": lambda value: bool(re.fullmatch(r"m[wra]_\w{5}", value.replace("-", "_"))),
    "milliseconds since 1970": lambda value: type(value) is int and value > 1_700_000_000_000,
    "milliseconds": lambda value: type(value) in (int, float),
}


def written(capsys: pytest.CaptureFixture[str]) -> dict[str, list[dict[str, Any]]]:
    """The lines logged since the last call, by message. Every line is an object with a known level and a time."""
    found: dict[str, list[dict[str, Any]]] = {}
    for text in capsys.readouterr().out.splitlines():
        line = json.loads(text)
        assert line["level"] in LEVELS
        found.setdefault(line["message"], []).append(line)
    return found


def without_what_changes(value: Any, name: str = "") -> Any:
    """The value, with the name of its form in the place of each value that changes from run to run."""
    form = FORMS.get(name) or ("milliseconds" if name.endswith("Ms") else None)
    if form and value is not None:
        assert LOOKS_LIKE[form](value), f"{name}: {value!r} is no {form}"
        return f"<{form}>"
    if isinstance(value, dict):
        return {key: without_what_changes(inner, key) for key, inner in value.items()}
    return [without_what_changes(inner) for inner in value] if isinstance(value, list) else value


def is_golden(name: str, line: dict[str, Any]) -> bool:
    """Whether the line is the golden one, types and all; RENEW_GOLDEN=1 writes the file again."""
    text = json.dumps(without_what_changes(line), indent=2) + "\n"
    file = GOLDEN / f"{name}.json"
    if os.environ.get("RENEW_GOLDEN"):
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")
    return True
