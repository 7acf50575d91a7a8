"""One `sam local start-api` and its database, shared by the tests of a test process."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from local.ports import free_port
from local.sam.sam_local import sam_local
from tests.support.containers import container_engine
from tests.support.databases import Cluster


class StartApi(NamedTuple):
    """A running `sam local start-api`."""

    url: str
    database_url: str
    log: Path


@pytest.fixture(scope="session")
def engine() -> Iterator[tuple[str, dict[str, str]]]:
    """The address of this machine in a container, and an environment that leads `sam local` to the engine."""
    with container_engine() as found:
        yield found


@pytest.fixture(scope="session")
def patient(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build with long timeouts: a cold start on a busy machine can take longer than the function's own."""
    folder = tmp_path_factory.mktemp("patient")
    for entry in build.iterdir():
        if entry.is_dir():
            (folder / entry.name).symlink_to(entry)
    template = (build / "template.yaml").read_text("utf-8")
    (folder / "template.yaml").write_text(re.sub(r"(?m)^( +Timeout): [0-9]+$", r"\1: 900", template), "utf-8")
    return folder


@pytest.fixture(scope="session")
def start_api(
    engine: tuple[str, dict[str, str]], postgres: Cluster, patient: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartApi]:
    """The API in containers."""
    host, environment = engine
    log = tmp_path_factory.mktemp("start-api") / "log"
    with (
        postgres.database() as database_url,
        sam_local(patient, database_url, host=host, port=free_port(), environment=environment, log=log) as url,
    ):
        yield StartApi(url, database_url, log)
