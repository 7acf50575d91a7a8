"""The costs of a deployment in the README."""

import re
from pathlib import Path

from local.cli.costs import LOG_BYTES_A_REQUEST, PRICES_OF, USES, monthly, tables
from local.sam.template import parse_template

PROJECT = Path(__file__).resolve().parents[2]


def test_the_readmes_cost_tables_are_computed() -> None:
    text = (PROJECT / "README.md").read_text("utf-8")
    assert tables() in text, "the tables of README.md differ from what `make costs` prints"
    assert f"prices of {PRICES_OF}" in text


def test_the_database_is_the_one_of_the_template() -> None:
    template = parse_template(PROJECT / "template.yaml")
    assert USES[0].instance == f"RDS {template['Parameters']['InstanceClass']['Default']}, hour"
    larger = re.search(r"db\.\S+?(?=,)", USES[-1].instance)
    assert larger is not None
    assert larger[0] in template["Parameters"]["InstanceClass"]["AllowedValues"]


def test_an_idle_stack_pays_for_nothing_by_use() -> None:
    idle = monthly("external", "direct", USES[0])
    assert {name for name, dollars in idle.items() if dollars > 0.5} == {"alarms", "dashboard"}


def test_log_lines_are_as_long_as_the_cost_model_assumes() -> None:
    line = (PROJECT / "tests" / "golden" / "ingest_result.json").read_text("utf-8")
    report = (PROJECT / "tests" / "golden" / "platform_report.json").read_text("utf-8")
    # Lambda also writes a start line, about half as long as its report, and the gateway a line of 300 bytes.
    compact = len(re.sub(r"\s+", "", line)) + 1.5 * len(re.sub(r"\s+", "", report)) + 300
    assert 0.6 * LOG_BYTES_A_REQUEST < compact < LOG_BYTES_A_REQUEST
