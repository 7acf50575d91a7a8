"""`make load`: excess requests are shed, and no acknowledged event is lost."""

import re
from pathlib import Path

from tests.support.programs import run_program


def test_overload_is_shed_and_reported_as_a_table_and_a_chart(tmp_path: Path) -> None:
    options = ["--rate", "400", "--seconds", "1", "--events", "5", "--environments", "1", "--output", str(tmp_path)]
    printed = run_program("benchmarks.load", *options, home=tmp_path)
    shed = re.search(r"(\d+) requests were shed with 429 or 503[.] No acknowledged event was lost[.]", printed)
    assert shed is not None
    assert int(shed[1]) > 0
    rows = (tmp_path / "load.md").read_text("utf-8").splitlines()
    assert sum(row.startswith("| ") and row[2].isdigit() for row in rows) >= 2
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")
