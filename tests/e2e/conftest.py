"""The fixtures of the end-to-end tests: one `sam build` for all."""

from pathlib import Path

import pytest

from local.sam.template import Template, load_template


@pytest.fixture(scope="session")
def built(build: Path) -> Template:
    """The built template; its functions point to the built folders."""
    return load_template(build / "template.yaml")
