"""The API under test: by default the local server, `sam local`, and the stack on MiniStack in both ingest modes.

`pytest tests/blackbox --base-url URL --keys .muster/local.json` asks any other deployment instead.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.gateway.server import local_api
from local.sam.deploy_local import Deployment
from local.sam.ministack import PYTHON, MiniStack
from local.sam.sam_cli import HOST_ARCHITECTURE
from tests.support.blackbox import Api
from tests.support.databases import Cluster, make_project
from tests.support.start_api import StartApi

LOCAL, SAM_LOCAL = "make run", "sam local"
DIRECT, BUFFERED = "MiniStack, direct", "MiniStack, buffered"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "api" in metafunc.fixturenames:
        named = metafunc.config.getoption("--base-url")
        metafunc.parametrize(
            "api", [named] if named else [LOCAL, SAM_LOCAL, DIRECT, BUFFERED], indirect=True, scope="session"
        )


@pytest.fixture(scope="session")
def deployment(postgres: Cluster, build: Path) -> Iterator[Deployment]:
    """The stack, deployed to a MiniStack of this test process on its embedded Postgres."""
    require_ministack()
    with postgres.database(template="template0") as database_url, MiniStack() as aws:
        stack = Deployment(aws, build)
        stack.deploy(
            {
                "Architecture": HOST_ARCHITECTURE,
                "DatabaseMode": "external",
                "DatabaseUrl": database_url,
                "IngestMode": "direct",
                "Stage": "test",
            }
        )
        yield stack


@pytest.fixture(scope="session")
def deployed_keys(deployment: Deployment) -> dict[str, str]:
    """The keys of a new project in the deployed stack."""
    made = deployment.invoke("MigrateFunction", {"action": "create_project", "name": "tests"})
    return dict(made["keys"])


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """One deployment of the API."""
    kind: str = request.param
    if kind == LOCAL:
        postgres: Cluster = request.getfixturevalue("postgres")
        with postgres.database() as url:
            keys = make_project(url).keys
            with local_api(environment={"DATABASE_URL": url}, parameters={"DatabaseMode": "external"}) as server:
                yield Api(server.url, keys)
    elif kind == SAM_LOCAL:
        started: StartApi = request.getfixturevalue("start_api")
        yield Api(started.url, make_project(started.database_url, "blackbox").keys, breaks_gzip=True)
    elif kind in (DIRECT, BUFFERED):
        stack: Deployment = request.getfixturevalue("deployment")
        keys = request.getfixturevalue("deployed_keys")
        mode = "direct" if kind == DIRECT else "buffered"
        if stack.parameters["IngestMode"] != mode:
            stack.deploy({"IngestMode": mode})
        yield Api(stack.url, keys, breaks_gzip=True, answers_options=True)
    else:
        written = json.loads(Path(request.config.getoption("--keys")).read_text("utf-8"))
        yield Api(kind, written["keys"])


def require_ministack() -> None:
    """Skip with the reason where MiniStack is not installed; in CI it must be."""
    if not PYTHON.exists():
        reason = "MiniStack is not installed: make .venv-ministack/.ready installs it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
