"""A room of the house imports only rooms below it."""

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "layers" / "shared" / "muster"

# From the ground up. A module imports modules of lower floors, and of its own floor those that stand before it.
FLOORS: dict[str, list[str]] = {
    "ground": [
        "errors",
        "limits",
        "rights",
        "results",
        "aws_credentials",
        "settings",
        "sql",
        "observability",
        "poison",
        "redaction",
        "json_slices",
        "event_ids",
        "models",
        "wire",
    ],
    "readers": [
        "bodies",
        "agents",
        "validation",
        "bounds",
        "json_forms",
        "rejections",
        "judgement",
        "plain_batches",
        "batches",
        "close_batches",
        "reading",
        "time_ranges",
        "parameters",
        "event_cursors",
        "metrics_models",
        "metrics_requests",
        "funnel_requests",
        "views",
        "quarantine_models",
        "quarantine_requests",
        "replay_requests",
        "pilot_requests",
    ],
    "database": ["rds_token", "logins", "database", "key_use", "ingest_log"],
    "topics": [
        "keys",
        "project_settings",
        "projects",
        "plain_events",
        "careful_events",
        "events",
        "quarantine",
        "replay",
        "queue",
        "queue_look",
        "buffered",
        "sessions",
        "consent",
        "subjects",
        "pilot",
        "rollups",
        "metrics",
        "event_windows",
        "recent_events",
        "recent_sessions",
        "funnel",
        "retention",
        "users",
        "export",
        "ledger",
        "traces",
        "migrations",
        "archive",
        "maintenance",
        "expiry",
        "schema_differences",
        "schema_history",
        "schema",
        "project_actions",
        "actions",
        "custom_resource",
        "checks",
        "diagnostics",
    ],
    "service": ["topics", "service"],
    "http": ["requests", "responses", "origins", "admin_login", "routing", "static_files", "snap_start", "http"],
}
ORDER = [module for floor in FLOORS.values() for module in floor]


def modules() -> list[str]:
    found = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return sorted(found - {"__init__"})


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            found |= (
                {f"{node.module}.{alias.name}" for alias in node.names}
                if node.module == "muster"
                else {node.module or ""}
            )
    return {name.split(".")[1] for name in found if name.startswith("muster.")}


def test_every_module_has_its_place() -> None:
    assert modules() == sorted(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_what_stands_below_it(module: str) -> None:
    folder = PACKAGE / module
    files = sorted(folder.glob("*.py")) if folder.is_dir() else [PACKAGE / f"{module}.py"]
    below = {*ORDER[: ORDER.index(module)], module}
    for file in files:
        assert imports(file) <= below, f"{file.name} imports from above itself"


# Its own, what says what it does, and three.
MOST_STATEMENTS = 5


def test_a_function_imports_the_package_and_nothing_else_of_ours() -> None:
    for app in sorted((PROJECT / "functions").glob("*/app.py")):
        tree = ast.parse(app.read_text("utf-8"))
        modules_of_app = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {name for name in modules_of_app if name and name.split(".")[0] in ("functions", "local", "tests")}
        routes = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list]
        assert routes or len(app.read_text("utf-8").splitlines()) <= 60, f"{app} is more than a table of routes"
        for route in routes:
            inside = [node for node in ast.walk(route) if isinstance(node, ast.stmt)]
            assert len(inside) <= MOST_STATEMENTS, f"{route.name} of {app} does more than hand on"
            assert not any(isinstance(node, ast.For | ast.While | ast.If | ast.Try) for node in inside), route.name
