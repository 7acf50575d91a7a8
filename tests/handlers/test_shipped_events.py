"""events/*.json: each has its outcome, and `make events` writes the same files."""

import base64
import importlib
import json
import zlib
from typing import Any

import pytest

from local.sam.shipped_events import FOLDER, texts
from muster.api import app as api
from muster.ingest.queue import unpack
from muster.platform.errors import MusterError
from tests.support.databases import MIGRATIONS, Project
from tests.support.functions import Context
from tests.support.shipped import FAILURES, OUTCOMES, Outcome

ROLES = {
    "consent": "muster_people",
    "pilot": "muster_people",
    "metrics": "muster_reader",
    "diagnostics": "muster_reader",
    "maintain": "muster_admin",
}


def run(name: str, project: Project, environment: pytest.MonkeyPatch) -> dict[str, Any]:
    """The response of the event's function in this process."""
    function = name.partition("-")[0]
    text = (FOLDER / f"{name}.json").read_text("utf-8")
    for kind, key in project.keys.items():
        text = text.replace(f"{kind.upper()}-KEY", key)
    environment.setenv("MIGRATIONS_DIR", str(MIGRATIONS))
    if function == "migrate":
        environment.delenv("DATABASE_ROLE")
    else:
        environment.setenv("DATABASE_ROLE", ROLES.get(function, "muster_ingest"))
    api.database.cache_clear()
    try:
        app = importlib.import_module(f"functions.{function}.app")
        answer: dict[str, Any] = app.lambda_handler(json.loads(text), Context())
        return answer
    finally:
        environment.setenv("DATABASE_ROLE", "muster_ingest")


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_shipped_event_has_its_outcome(name: str, project: Project, environment: pytest.MonkeyPatch) -> None:
    assert Outcome.of(run(name, project, environment)) == OUTCOMES[name]


@pytest.mark.parametrize("name", FAILURES)
def test_a_shipped_event_that_must_fail_fails_with_a_sentence(
    name: str, project: Project, environment: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MusterError, match=FAILURES[name]):
        run(name, project, environment)


def test_the_files_are_what_make_events_writes() -> None:
    files = {path.stem: path.read_text("utf-8") for path in FOLDER.glob("*.json")}
    assert set(files) == set(OUTCOMES) | set(FAILURES)
    made = texts()
    assert {name: unpacked(text) for name, text in files.items()} == {
        name: unpacked(text) for name, text in made.items()
    }


def unpacked(text: str) -> Any:
    """The event with its parts decompressed, because each version of zlib compresses differently."""
    event = json.loads(text)
    if event.get("headers", {}).get("content-encoding") == "gzip":
        event["body"] = zlib.decompress(base64.b64decode(event["body"]), 31).decode()
    for record in event.get("Records", []):
        if not record["body"].startswith("Hello"):
            record["body"] = unpack(record["body"])
    return event
