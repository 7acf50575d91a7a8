"""The real input: ten thousand requests of four days in May 2015."""

from pathlib import Path

import pytest

LOG = Path(__file__).resolve().parents[3] / "shared" / "data" / "apache_access_10k.log.gz"
needs_the_log = pytest.mark.skipif(
    not LOG.exists(), reason="the log apache_access_10k.log.gz is not in shared/data beside this repository"
)
