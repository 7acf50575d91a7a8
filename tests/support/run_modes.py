"""Reports the tests of each run mode of Muster after a test run, so that an untested mode is noticed."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import pytest

RUN_MODES: Mapping[str, re.Pattern[str]] = {
    "in process (make run)": re.compile(r"tests/blackbox/.*\[make run|tests/integration/test_run\.py"),
    "Lambda's runtime interface emulator": re.compile(r"tests/e2e/test_built_functions\.py"),
    "sam local in containers": re.compile(r"tests/blackbox/.*\[sam local|tests/e2e/test_sam_local\.py"),
    "sam deploy to MiniStack": re.compile(r"tests/blackbox/.*\[MiniStack|tests/e2e/test_deployed\.py"),
}
OUTCOMES = ("passed", "failed", "error", "skipped")


def count(reports: Mapping[str, Iterable[object]]) -> dict[str, Counter[str]]:
    """Count the outcomes of the tests of each run mode."""
    counted: dict[str, Counter[str]] = {mode: Counter() for mode in RUN_MODES}
    for outcome in OUTCOMES:
        for report in reports.get(outcome, ()):
            name = str(getattr(report, "nodeid", ""))
            for mode, pattern in RUN_MODES.items():
                counted[mode][outcome] += bool(pattern.match(name))
    return counted


def lines(counted: Mapping[str, Counter[str]]) -> list[str]:
    """One line per run mode that has tests in this run."""
    return [
        f"{mode}: " + ", ".join(f"{outcomes[name]} {name}" for name in OUTCOMES if outcomes[name])
        for mode, outcomes in counted.items()
        if outcomes.total()
    ]


def untested(counted: Mapping[str, Counter[str]]) -> list[str]:
    """The run modes without a passed test."""
    return [mode for mode, outcomes in counted.items() if not outcomes["passed"]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line per run mode."""
    if listed := lines(count(terminalreporter.stats)):
        terminalreporter.section("run modes")
        for line in listed:
            terminalreporter.line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a full run in CI if a run mode has no passed test."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    is_worker = hasattr(session.config, "workerinput")
    chosen = session.config.args != session.config.getini("testpaths") or session.config.option.keyword
    if os.environ.get("CI") and reporter is not None and not is_worker and not chosen:
        missing = untested(count(reporter.stats))
        if missing:
            reporter.line(f"No test passed in: {', '.join(missing)}.")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
