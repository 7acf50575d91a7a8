"""A function's app.py is a table of routes and nothing else."""

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
APPS = sorted((PROJECT / "functions").glob("*/app.py"))
# Its own, its docstring, and three.
MOST_STATEMENTS = 5
MOST_LINES_WITHOUT_A_TABLE = 60
IN_A_TABLE = (ast.Call, ast.Constant, ast.Dict, ast.List, ast.Name, ast.Attribute, ast.Tuple, ast.keyword, ast.Load)


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.parent.name)
def test_a_function_imports_nothing_of_the_repository_but_the_package(app: Path) -> None:
    modules = {
        node.module or "" for node in ast.walk(ast.parse(app.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)
    }
    assert not {name for name in modules if name.split(".")[0] in ("functions", "local", "tests")}


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.parent.name)
def test_a_functions_file_is_a_table_of_routes_or_short(app: Path) -> None:
    text = app.read_text("utf-8")
    tree = ast.parse(text)
    tables = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROUTES"]
    if not tables:
        assert len(text.splitlines()) <= MOST_LINES_WITHOUT_A_TABLE
        return
    (table,) = tables
    assert not [node for node in ast.walk(table.value) if not isinstance(node, IN_A_TABLE)]
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        inside = [node for node in ast.walk(function) if isinstance(node, ast.stmt)]
        assert len(inside) <= MOST_STATEMENTS, f"{function.name} does more than answer with a file"
        assert not any(isinstance(node, ast.For | ast.While | ast.If | ast.Try) for node in inside), function.name
