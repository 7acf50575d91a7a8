"""Says after a test run how each way of running Muster fared, so that none is left out unseen."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import pytest

WAYS: Mapping[str, re.Pattern[str]] = {
    "in process (make run)": re.compile(r"tests/blackbox/.*\[make run|tests/integration/test_run\.py"),
    "Lambda's runtime interface emulator": re.compile(r"tests/e2e/test_built_functions\.py"),
    "sam local in containers": re.compile(r"tests/blackbox/.*\[sam local|tests/e2e/test_sam_local\.py"),
    "sam deploy to MiniStack": re.compile(r"tests/blackbox/.*\[MiniStack|tests/e2e/test_deployed\.py"),
}
OUTCOMES = ("passed", "failed", "error", "skipped")


def count(reports: Mapping[str, Iterable[object]]) -> dict[str, Counter[str]]:
    """For each way, how many of its tests had which outcome."""
    counted: dict[str, Counter[str]] = {way: Counter() for way in WAYS}
    for outcome in OUTCOMES:
        for report in reports.get(outcome, ()):
            name = str(getattr(report, "nodeid", ""))
            for way, pattern in WAYS.items():
                counted[way][outcome] += bool(pattern.match(name))
    return counted


def lines(counted: Mapping[str, Counter[str]]) -> list[str]:
    """A line for each way that was tested at all."""
    return [
        f"{way}: " + ", ".join(f"{outcomes[name]} {name}" for name in OUTCOMES if outcomes[name])
        for way, outcomes in counted.items()
        if outcomes.total()
    ]


def left_out(counted: Mapping[str, Counter[str]]) -> list[str]:
    """The ways of which no test passed."""
    return [way for way, outcomes in counted.items() if not outcomes["passed"]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each way."""
    if listed := lines(count(terminalreporter.stats)):
        terminalreporter.section("the ways it runs")
        for line in listed:
            terminalreporter.line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, whose runs are whole, a way that was left out fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    is_worker = hasattr(session.config, "workerinput")
    chosen = session.config.args != session.config.getini("testpaths") or session.config.option.keyword
    if os.environ.get("CI") and reporter is not None and not is_worker and not chosen:
        missing = left_out(count(reporter.stats))
        if missing:
            reporter.line(f"Not one test passed of: {', '.join(missing)}.")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
