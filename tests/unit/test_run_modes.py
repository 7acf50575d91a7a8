"""The lines about each run mode, after a test run."""

from types import SimpleNamespace

from tests.support.run_modes import RUN_MODES, count, lines, untested


def report(nodeid: str) -> SimpleNamespace:
    return SimpleNamespace(nodeid=nodeid)


def test_each_run_mode_has_a_line_and_untested_ones_are_named() -> None:
    counted = count(
        {
            "passed": [
                report("tests/e2e/test_built_functions.py::test_a"),
                report("tests/blackbox/test_api.py::test_a[MiniStack, direct]"),
                report("tests/blackbox/test_api.py::test_a[make run]"),
                report("tests/unit/test_a.py::test_a"),
            ],
            "skipped": [report("tests/blackbox/test_api.py::test_a[sam local]")],
        }
    )
    assert lines(counted) == [
        "in process (make run): 1 passed",
        "Lambda's runtime interface emulator: 1 passed",
        "sam local in containers: 1 skipped",
        "sam deploy to MiniStack: 1 passed",
    ]
    assert untested(counted) == ["sam local in containers"]
    assert len(RUN_MODES) == 4
