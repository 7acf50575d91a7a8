"""A function's app.py is a table of routes, and nothing more."""

import ast
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
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
