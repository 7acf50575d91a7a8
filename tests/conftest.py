"""Fixtures: a real Postgres for each test process, migrated databases on it, and projects in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from local.sam.sam_cli import build_for_this_machine
from tests.support.databases import Cluster, Project, cluster, make_project

pytest_plugins = ["tests.support.run_modes", "tests.support.start_api"]
pytest.register_assert_rewrite("tests.support.deliveries")

# The same examples in every run, and no clock: machines are shared.
settings.register_profile("muster", deadline=None, derandomize=True, database=None)
settings.load_profile("muster")


# These share a deployment, which takes longer to start than most tests take. They mostly wait.
DEPLOYMENTS = {
    "sam local": re.compile(r"tests/e2e/test_sam_local\.py|tests/blackbox/.*\[sam local"),
    "MiniStack": re.compile(r"tests/e2e/test_deployed\.py|tests/blackbox/.*\[MiniStack"),
}


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Keeps the tests of each file in one test process, and those of each deployment."""

    def _split_scope(self, nodeid: str) -> str:
        for name, tests in DEPLOYMENTS.items():
            if tests.match(nodeid):
                return name
        return str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Distribute the tests over the test processes."""
    return Scheduling(config, log)


class LocalDatabase(NamedTuple):
    """A database with a project, for tests that can share it."""

    url: str
    keys: dict[str, str]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """This test process's own server."""
    with cluster() as started:
        yield started


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of a `sam build` for this machine, shared by the test processes."""
    base = tmp_path_factory.getbasetemp()
    return build_for_this_machine((base if worker_id == "master" else base.parent) / "sam")


@pytest.fixture
def database_url(postgres: Cluster) -> Iterator[str]:
    """A migrated database of the test's own: its superuser's URL."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def project(database_url: str) -> Project:
    """A project in the test's own database."""
    return make_project(database_url)


@pytest.fixture(scope="session")
def local_database(postgres: Cluster) -> Iterator[LocalDatabase]:
    """A migrated database with a project, shared by the session's tests."""
    with postgres.database() as url:
        yield LocalDatabase(url, make_project(url).keys)


@pytest.fixture(scope="session")
def shared_url(postgres: Cluster) -> Iterator[str]:
    """A migrated database for tests that roll back their changes."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def connection(shared_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection. Its transaction is rolled back after the test."""
    with psycopg.connect(shared_url) as open_connection:
        yield open_connection
        open_connection.rollback()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The black-box suite's own options, for a deployment that is there already."""
    parser.addoption("--base-url", help="of an API to run tests/blackbox against")
    parser.addoption("--keys", default=".muster/local.json", help="a JSON file with its keys")
