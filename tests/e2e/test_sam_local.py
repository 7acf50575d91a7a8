"""`sam local` in containers: every route and every shipped event."""

import base64
import json
from pathlib import Path

import httpx
import pytest

from local.paths import PROJECT
from local.sam.invoke import invoke
from local.sam.sam_cli import result_in
from local.sam.shipped_events import FOLDER, function_of
from local.sam.template import load_template
from tests.support.databases import Cluster, make_project
from tests.support.http import http
from tests.support.requests import ASKS
from tests.support.shipped import OUTCOMES, Outcome
from tests.support.start_api import StartApi

# The functions without a route; and gzip, because `sam local start-api` breaks a gzip body.
INVOKED = ("ingest-gzip", "consume-unknown-key", "maintain-hourly", "migrate-verify")
WITH_ROUTES = {route.function for route in load_template(PROJECT / "template.yaml").routes}
# A container's connection to the database is not encrypted, and diagnostics warns about it.
ANSWERS = {**OUTCOMES, "diagnostics": Outcome(200, "degraded")}
SENT = [name for name in OUTCOMES if function_of(name) in WITH_ROUTES and name not in INVOKED]


def test_start_api_answers_every_route(start_api: StartApi) -> None:
    keys = make_project(start_api.database_url, "routes").keys
    for route, ask in ASKS.items():
        method, _, pattern = route.partition(" ")
        headers = {"authorization": f"Bearer {keys[ask.kind]}"} if ask.kind else {}
        url = f"{start_api.url}{pattern.format(**ask.path)}?{ask.query}"
        answer = http.request(method, url, headers=headers, json=ask.body)
        assert answer.status_code == ask.status, f"{route}: {answer.text}\n{start_api.log.read_text('utf-8')[-3000:]}"
        assert not ask.expected or ask.expected.items() <= answer.json().items()


@pytest.mark.parametrize("name", SENT)
def test_start_api_answers_a_shipped_event(name: str, start_api: StartApi) -> None:
    answer = send(name, start_api, make_project(start_api.database_url, name).keys)
    found = Outcome.of({"statusCode": answer.status_code, "body": answer.text})
    assert found == ANSWERS[name], f"{answer.text}\n{start_api.log.read_text('utf-8')[-3000:]}"


def send(name: str, start_api: StartApi, keys: dict[str, str]) -> httpx.Response:
    """Send a shipped event as the HTTP request that it stands for."""
    text = (FOLDER / f"{name}.json").read_text("utf-8")
    for kind, key in keys.items():
        text = text.replace(f"{kind.upper()}-KEY", key)
    event = json.loads(text)
    body = event.get("body", "")
    return http.request(
        event["requestContext"]["http"]["method"],
        f"{start_api.url}{event['rawPath']}?{event['rawQueryString']}",
        headers=event["headers"],
        content=base64.b64decode(body) if event["isBase64Encoded"] else body.encode(),
    )


@pytest.mark.parametrize("name", INVOKED)
def test_a_shipped_event_is_invoked(
    name: str, engine: tuple[str, dict[str, str]], postgres: Cluster, patient: Path
) -> None:
    host, environment = engine
    with postgres.database() as url:
        keys = make_project(url).keys
        finished = invoke(FOLDER / f"{name}.json", patient, url, keys, host=host, environment=environment)
    assert finished.returncode == 0, finished.stdout
    assert Outcome.of(result_in(finished.stdout)) == OUTCOMES[name], finished.stdout


def test_every_function_runs_in_a_container() -> None:
    assert {function_of(name) for name in (*SENT, *INVOKED)} == set(load_template(PROJECT / "template.yaml").functions)
