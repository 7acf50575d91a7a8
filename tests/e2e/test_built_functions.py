"""Every built function answers under the genuine runtime interface emulator, from what `sam build` made."""

import gzip
import json
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from local.paths import PROJECT
from local.sam.template import Template, load_template
from muster.db.client import Database
from muster.platform.settings import Settings
from muster.service import AnalyticsService
from tests.support.emulator import Emulator, to_payload
from tests.support.events import http_event
from tests.support.requests import ASKS, SESSION_ID, new_batch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the emulator in the SAM CLI is a Linux program")

SOURCE = load_template(PROJECT / "template.yaml")


class LocalDatabase(Protocol):
    """What these tests need of the fixture of that name."""

    @property
    def url(self) -> str: ...
    @property
    def keys(self) -> dict[str, str]: ...


# For a function without a route, an event and what its answer holds.
INVOCATIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "MigrateFunction": ({"action": "migrate"}, {"status": "ok", "verified": True}),
    "MaintainFunction": ({}, {"status": "ok", "partitionsCreated": 0, "archived": None}),
    "ConsumeFunction": (
        {"Records": [{"messageId": "1", "body": "none of ours", "eventSource": "aws:sqs"}]},
        {"batchItemFailures": [{"itemIdentifier": "1"}]},
    ),
}


@pytest.fixture(scope="module", params=sorted(SOURCE.functions))
def emulator(
    request: pytest.FixtureRequest,
    built: Template,
    local_database: LocalDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Emulator]:
    function = built.functions[request.param]
    database = Database(Settings(database_url=local_database.url))
    AnalyticsService(database, key=local_database.keys["write"]).update_session(SESSION_ID, None)
    database.close()
    workspace = tmp_path_factory.mktemp("emulator")
    environment = {"DATABASE_URL": local_database.url, "STAGE": "test", "INGEST_MODE": "direct"}
    with Emulator(function, workspace, environment=environment) as emulator:
        yield emulator


def test_a_built_function_answers_all_its_routes(
    emulator: Emulator, request: pytest.FixtureRequest, local_database: LocalDatabase
) -> None:
    name = request.node.callspec.params["emulator"]
    routes = [route.key for route in SOURCE.routes if route.function == name]
    for route in routes:
        ask = ASKS[route]
        headers = {"authorization": f"Bearer {local_database.keys[ask.kind]}"} if ask.kind else {}
        event = http_event(route, parameters=ask.path, query=ask.query, headers=headers, json_body=ask.body)
        response = emulator.invoke(event)
        assert response.get("statusCode") == ask.status, f"{route}: {response}\n{emulator.log}"
        assert not ask.expected or ask.expected.items() <= to_payload(response).items()
    if not routes:
        event, expected = INVOCATIONS[name]
        report = emulator.invoke(event)
        assert report | expected == report, f"{report}\n{emulator.log}"


def test_every_route_of_the_template_is_tested() -> None:
    assert {route.key for route in SOURCE.routes} == set(ASKS)


def test_a_gzip_body_reaches_a_built_function_whole(
    built: Template, local_database: LocalDatabase, tmp_path: Path
) -> None:
    (route,) = (route for route in built.routes if route.key == "POST /v1/events")
    event = http_event(
        route.key,
        headers={"authorization": f"Bearer {local_database.keys['write']}", "content-encoding": "gzip"},
    )
    body = gzip.compress(json.dumps(new_batch()).encode())
    event |= {"body": b64encode(body).decode(), "isBase64Encoded": True}
    environment = {"DATABASE_URL": local_database.url, "INGEST_MODE": "direct"}
    with Emulator(built.functions[route.function], tmp_path, environment=environment) as emulator:
        response = emulator.invoke(event)
        assert response.get("statusCode") == 200, f"{response}\n{emulator.log}"
        assert to_payload(response)["received"] == 1


def test_a_request_without_a_database_is_refused_without_a_crash(built: Template, tmp_path: Path) -> None:
    (route,) = (route for route in built.routes if route.key == "POST /v1/events")
    event = http_event(route.key, headers={"authorization": "Bearer mw_none"}, json_body=new_batch())
    environment = {"DATABASE_URL": "postgresql://muster@127.0.0.1:1/muster", "INGEST_MODE": "direct"}
    with Emulator(built.functions[route.function], tmp_path, environment=environment) as emulator:
        response = emulator.invoke(event)
        assert response.get("statusCode") == 503, f"{response}\n{emulator.log}"
        assert response["headers"].get("retry-after") or response["headers"].get("Retry-After")
