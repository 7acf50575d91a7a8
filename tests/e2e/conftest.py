"""What the end-to-end tests share: one `sam build`."""

from pathlib import Path

import pytest

from local.sam import build_for_this_machine
from local.template import Template, load_template


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of a `sam build` for this machine, shared by the test processes."""
    base = tmp_path_factory.getbasetemp()
    return build_for_this_machine((base if worker_id == "master" else base.parent) / "sam")


@pytest.fixture(scope="session")
def built(build: Path) -> Template:
    """The built template, whose functions point to the built folders."""
    return load_template(build / "template.yaml")
