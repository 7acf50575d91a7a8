"""Each handler in this process, on a database of the test's own."""

from collections.abc import Iterator

import pytest

from functions.consent import app as consent
from functions.diagnostics import app as diagnostics
from functions.ingest import app as ingest
from functions.metrics import app as metrics
from functions.pilot import app as pilot
from functions.session import app as session
from muster.api import app as api
from tests.support.databases import Project
from tests.support.functions import Caller


def function_environment(patch: pytest.MonkeyPatch, database_url: str) -> Iterator[pytest.MonkeyPatch]:
    """A function's environment, with its connection closed afterwards."""
    patch.setenv("DATABASE_URL", database_url)
    patch.setenv("DATABASE_ROLE", "muster_ingest")
    patch.setenv("STAGE", "test")
    api.database.cache_clear()
    yield patch
    api.database().close()
    api.database.cache_clear()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[pytest.MonkeyPatch]:
    """A function's environment."""
    yield from function_environment(monkeypatch, database_url)


@pytest.fixture
def post(environment: pytest.MonkeyPatch, project: Project) -> Caller:
    """Calls the ingest function."""
    return Caller(ingest.lambda_handler, project, "muster_ingest", environment)


@pytest.fixture
def on_sessions(environment: pytest.MonkeyPatch, project: Project) -> Caller:
    """Calls the session function."""
    return Caller(session.lambda_handler, project, "muster_ingest", environment)


@pytest.fixture
def on_consent(environment: pytest.MonkeyPatch, project: Project) -> Caller:
    """Calls the consent function."""
    return Caller(consent.lambda_handler, project, "muster_people", environment)


@pytest.fixture
def on_pilot(environment: pytest.MonkeyPatch, project: Project) -> Caller:
    """Calls the pilot function."""
    return Caller(pilot.lambda_handler, project, "muster_people", environment)


@pytest.fixture
def on_metrics(environment: pytest.MonkeyPatch, project: Project) -> Caller:
    """Calls the metrics function."""
    return Caller(metrics.lambda_handler, project, "muster_reader", environment)


@pytest.fixture
def on_diagnostics(environment: pytest.MonkeyPatch, project: Project) -> Caller:
    """Calls the diagnostics function."""
    return Caller(diagnostics.lambda_handler, project, "muster_reader", environment)
