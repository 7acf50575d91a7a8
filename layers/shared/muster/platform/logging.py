"""Log lines and metrics: one JSON object a line on standard output, as Lambda and CloudWatch read them.

A Powertools Logger line costs 107-730 µs and its metrics another line; a plain line costs about 20 µs and can carry
the metrics in the same object (CloudWatch embedded metric format).
"""

import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

import orjson

Level = Literal["INFO", "WARN", "ERROR"]
NAMESPACE = "Muster"
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def work_for(request_id: str | None) -> None:
    """Put this request's id in every line from here on, until the next request's."""
    _request_id.set(request_id)


def log(level: Level, message: str, /, **fields: Any) -> None:
    """Write one line; `fields` hold ids, reasons and counts, never values that a client sent."""
    line = {"level": level, "message": message, "timestamp": datetime.now(UTC), "request_id": _request_id.get()}
    _print(_json({**line, **fields}))


def log_with_metrics(message: str, metrics: dict[str, float], /, *, service: str, stage: str, **fields: Any) -> None:
    """Write one INFO line whose `metrics` CloudWatch turns into metrics; a name that ends in Ms is in milliseconds."""
    MetricsLine(message, metrics, service=service, stage=stage, **fields).write({})


class MetricsLine:
    """A line as log_with_metrics writes it, begun while the rest of what it tells is not known yet."""

    def __init__(self, message: str, metrics: dict[str, float], /, *, service: str, stage: str, **fields: Any) -> None:
        line = {"level": "INFO", "message": message, "request_id": _request_id.get(), **fields}
        self._begun = _json({**line, "service": service, "stage": stage, **metrics})
        self._names = tuple(metrics)

    def write(self, metrics: dict[str, float], /, **fields: Any) -> None:
        """Write it, with the metrics and fields that have become known since."""
        embedded = {"Timestamp": time.time_ns() // 1_000_000, **_definitions((*self._names, *metrics))}
        rest = _json({"timestamp": datetime.now(UTC), **fields, **metrics, "_aws": embedded})
        _print(self._begun[:-1] + b"," + rest[1:])


def _json(fields: dict[str, Any]) -> bytes:
    # A time as an object: Python's own text of one costs a tenth of the whole line.
    return orjson.dumps(fields, default=str, option=orjson.OPT_UTC_Z)


def _print(line: bytes) -> None:
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()


@cache
def _definitions(names: tuple[str, ...]) -> dict[str, orjson.Fragment]:
    metrics = [{"Name": name, "Unit": "Milliseconds" if name.endswith("Ms") else "Count"} for name in names]
    directive = {"Namespace": NAMESPACE, "Dimensions": [["service", "stage"]], "Metrics": metrics}
    return {"CloudWatchMetrics": orjson.Fragment(orjson.dumps([directive]))}
