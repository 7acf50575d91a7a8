"""The API under test: by default the local server and the stack deployed to MiniStack, in both ingest modes.

`pytest tests/blackbox --base-url URL --keys .muster/local.json` asks any other deployment instead.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.deployment import Deployment
from local.ministack import PYTHON, MiniStack
from local.sam import HOST_ARCHITECTURE, build_for_this_machine
from local.server import local_api
from tests.support.blackbox import Api
from tests.support.databases import Cluster, make_project

LOCAL, DIRECT, BUFFERED = "make run", "MiniStack, direct", "MiniStack, buffered"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "api" in metafunc.fixturenames:
        named = metafunc.config.getoption("--base-url")
        metafunc.parametrize("api", [named] if named else [LOCAL, DIRECT, BUFFERED], indirect=True, scope="session")


@pytest.fixture(scope="session")
def deployment(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Deployment]:
    """The stack, deployed to a MiniStack of this test process on its embedded Postgres."""
    require_ministack()
    base = tmp_path_factory.getbasetemp()
    build = build_for_this_machine((base if worker_id == "master" else base.parent) / "sam")
    with postgres.database(template="template0") as database_url, MiniStack() as aws:
        stack = Deployment(aws, build)
        stack.deploy(
            {
                "Architecture": HOST_ARCHITECTURE,
                "DatabaseMode": "external",
                "DatabaseUrl": database_url,
                "Stage": "test",
            }
        )
        yield stack


@pytest.fixture(scope="session")
def deployed_keys(deployment: Deployment) -> dict[str, str]:
    """The keys of a project in the deployed stack, made as an engineer makes them."""
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
    elif kind in (DIRECT, BUFFERED):
        stack: Deployment = request.getfixturevalue("deployment")
        keys = request.getfixturevalue("deployed_keys")
        stack.deploy({"IngestMode": "direct" if kind == DIRECT else "buffered"})
        yield Api(stack.url, keys, is_ministack=True)
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
