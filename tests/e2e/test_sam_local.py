"""`sam local` in containers: a request for each route, and the shipped events."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.paths import PROJECT
from local.ports import free_port
from local.sam.invoke import invoke
from local.sam.sam_cli import result_in
from local.sam.sam_local import sam_local
from local.sam.shipped_events import FOLDER
from local.sam.template import load_template
from tests.support.containers import container_engine
from tests.support.databases import Cluster, make_project
from tests.support.requests import ASKS
from tests.support.shipped import OUTCOMES, Outcome

# One of each function; the others go through the handlers in tests/handlers/test_shipped_events.py.
INVOKED = (
    "ingest-gzip",
    "session-put",
    "consent-put",
    "pilot-issue",
    "metrics-all",
    "diagnostics-healthz",
    "consume-unknown-key",
    "maintain-hourly",
    "migrate-verify",
    "web-description",
)


@pytest.fixture(scope="module")
def engine() -> Iterator[tuple[str, dict[str, str]]]:
    with container_engine() as found:
        yield found


def test_start_api_answers_every_route(
    engine: tuple[str, dict[str, str]], postgres: Cluster, build: Path, tmp_path: Path
) -> None:
    host, environment = engine
    with postgres.database() as url:
        keys = make_project(url).keys
        log = tmp_path / "log"
        with sam_local(build, url, host=host, port=free_port(), environment=environment, log=log) as address:
            for route, ask in ASKS.items():
                method, _, pattern = route.partition(" ")
                headers = {"authorization": f"Bearer {keys[ask.kind]}"} if ask.kind else {}
                url_of_ask = f"{address}{pattern.format(**ask.path)}?{ask.query}"
                answer = httpx.request(method, url_of_ask, headers=headers, timeout=60, trust_env=False, json=ask.body)
                assert answer.status_code == ask.status, f"{route}: {answer.text}\n{log.read_text('utf-8')[-3000:]}"
                assert not ask.expected or ask.expected.items() <= answer.json().items()


@pytest.mark.parametrize("name", INVOKED)
def test_a_shipped_event_is_invoked(
    name: str, engine: tuple[str, dict[str, str]], postgres: Cluster, build: Path
) -> None:
    host, environment = engine
    with postgres.database() as url:
        keys = make_project(url).keys
        finished = invoke(FOLDER / f"{name}.json", build, url, keys, host=host, environment=environment)
    assert finished.returncode == 0, finished.stdout
    assert Outcome.of(result_in(finished.stdout)) == OUTCOMES[name], finished.stdout


def test_every_function_is_invoked() -> None:
    functions = {f"{name.partition('-')[0].title()}Function" for name in INVOKED}
    assert functions == set(load_template(PROJECT / "template.yaml").functions)
