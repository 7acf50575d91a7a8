"""The modules that a function imports before it has answered its first request."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
# Each costs a cold start some hundreds of milliseconds of CPU.
BANNED = ("boto3", "botocore", "aws_xray_sdk", "aws_lambda_powertools", "httpx", "asyncpg")
PROGRAM = """
import contextlib, io, json, sys, uuid
import app
with contextlib.redirect_stdout(io.StringIO()):
    answer = app.lambda_handler(json.loads(sys.argv[1]), type("Context", (), {"aws_request_id": str(uuid.uuid4())}))
print(answer["statusCode"], *sys.modules)
"""


def with_ids(event: dict[str, Any]) -> dict[str, Any]:
    """The event of API Gateway. Each event in its body has an id, as clients send them."""
    body = json.loads(event.get("body", "{}"))
    for listed in body.get("events", []):
        listed.setdefault("id", str(uuid.uuid4()))
    return {**event, "body": json.dumps(body)}


def modules_after(function: str, event: str) -> set[str]:
    """The modules that are loaded after a function's first request, without a database."""
    path = os.pathsep.join([str(PROJECT / "functions" / function), str(PROJECT / "layers" / "shared")])
    text = (PROJECT / "events" / event).read_text("utf-8")
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(with_ids(json.loads(text)))],
        env={**os.environ, "PYTHONPATH": path, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    status, *modules = result.stdout.split()
    assert status in ("200", "503"), result
    return set(modules)


@pytest.mark.parametrize(
    ("function", "event", "unused"),
    [
        (
            "ingest",
            "ingest-batch.json",
            ["pydantic", "muster.ingest.parse", "muster.metrics.overview", "muster.http.params"],
        ),
        (
            "ingest",
            "ingest-one-bad-event.json",
            ["pydantic", "muster.ingest.enqueue", "muster.metrics.overview", "muster.http.params"],
        ),
        ("session", "session-put.json", ["pydantic", "muster.ingest.fast_path", "muster.metrics.overview"]),
        (
            "consent",
            "consent-put.json",
            ["pydantic", "crawlerdetect", "muster.ingest.fast_path", "muster.privacy.subjects"],
        ),
        (
            "pilot",
            "pilot-issue.json",
            ["pydantic", "crawlerdetect", "muster.ingest.handler", "muster.sessions", "muster.metrics.overview"],
        ),
        (
            "metrics",
            "metrics-all.json",
            ["pydantic", "crawlerdetect", "muster.ingest.handler", "muster.sessions", "muster.diagnostics.report"],
        ),
        ("diagnostics", "diagnostics.json", ["pydantic", "crawlerdetect", "muster.ingest.handler", "muster.sessions"]),
    ],
)
def test_a_cold_start_imports_only_modules_that_its_route_uses(function: str, event: str, unused: list[str]) -> None:
    loaded = modules_after(function, event)
    assert "muster.api.app" in loaded
    packages = {name.partition(".")[0] for name in loaded}
    assert sorted(packages & set(BANNED)) == []
    assert sorted(loaded & set(unused)) == []
