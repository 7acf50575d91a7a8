"""What the ingest function imports when it starts cold."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
# Each costs a cold start some hundreds of milliseconds of CPU.
BANNED = (
    "boto3",
    "botocore.",
    "aws_xray_sdk",
    "aws_lambda_powertools.utilities.idempotency",
    "aws_lambda_powertools.utilities.parameters",
)


def test_ingest_imports_nothing_that_makes_a_cold_start_slow() -> None:
    program = "import app, sys; print('\\n'.join(sys.modules))"
    path = os.pathsep.join([str(PROJECT / "functions" / "ingest"), str(PROJECT / "layers" / "shared")])
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = result.stdout.split()
    assert "muster.events" in loaded
    assert [name for name in loaded if name.startswith(BANNED)] == []
