"""Every SQL function that Python or a query calls by name exists, with exactly those parameters."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from muster.ingest import fast_path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "layers" / "shared" / "muster"
FOLDERS = (PACKAGE, PROJECT / "functions", PROJECT / "local")
# Each takes the name of a SQL function, and after it the parameters.
CALLERS = {"call", "call_value", "call_of", "rows_of", "_call"}
STEP = "self._step"  # takes the parameters as keywords
ADDED = {"_call": {"key_hash"}}
# The functions above that pass on the name that they were given.
FORWARDERS = {*CALLERS, "_step"}
CALL = re.compile(r"\bmuster\.([a-z_]+)\(")


class Site(NamedTuple):
    """A call of a SQL function from Python."""

    place: str
    function: str
    parameters: frozenset[str]


@cache
def signatures() -> dict[str, list[str]]:
    """The names of each SQL function's parameters, without p_, in order."""
    functions = json.loads((PACKAGE / "db" / "schema.json").read_text("utf-8"))["functions"]
    found = {}
    for signature in functions:
        name, _, rest = signature.partition("(")
        parameters = [each for each in rest.removesuffix(")").split(", ") if each and not each.startswith("OUT ")]
        found[name] = [each.split()[0].removeprefix("p_") for each in parameters]
    return found


@cache
def modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@cache
def payload_parameters() -> frozenset[str]:
    """The keys of what make_payload returns."""
    tree = modules()[PACKAGE / "ingest" / "full_path.py"]
    (made,) = (function for function in functions_of(tree) if function.name == "make_payload")
    (returned,) = (node.value for node in ast.walk(made) if isinstance(node, ast.Return))
    assert isinstance(returned, ast.Dict)
    return names_in(returned, made)


def names_in(node: ast.expr, function: ast.FunctionDef) -> frozenset[str]:
    """The keys of a dictionary or a tuple that a function writes out or assigns to a name."""
    match node:
        case ast.Dict():
            names = frozenset[str]()
            for key, value in zip(node.keys, node.values, strict=True):
                names |= names_in(value, function) if key is None else {text_of(key)}
            return names
        case ast.Tuple():
            return frozenset(map(text_of, node.elts))
        case ast.Call(func=ast.Name(id="tuple"), args=[argument]):
            return names_in(argument, function)
        case ast.Call(func=ast.Name(id="make_payload")):
            return payload_parameters()
        case ast.Name(id=name):
            for each in ast.walk(function):
                if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == name:
                    return names_in(each.value, function)
            if name == "payload":
                return payload_parameters()
    raise AssertionError(f"The parameters {ast.unparse(node)} of {function.name} cannot be read; write them out.")


def text_of(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant), ast.unparse(node)
    return str(node.value)


def sites() -> list[Site]:
    """Every call of a SQL function in the package."""
    found = [
        site_of(node, function, path)
        for path, tree in modules().items()
        for function in functions_of(tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
    ]
    return [site for site in found if site is not None]


def site_of(node: ast.Call, function: ast.FunctionDef, path: Path) -> Site | None:
    caller = ast.unparse(node.func)
    if caller.endswith(".run") and node.args:  # database.run(call, …) calls it too
        caller = ast.unparse(node.args[0])
    if caller not in {*CALLERS, STEP}:
        return None
    position = next((n for n, each in enumerate(node.args) if isinstance(each, ast.Constant)), None)
    if position is None:
        assert function.name in FORWARDERS, f"{path.name}: {function.name} calls a SQL function without its name."
        return None
    if caller == STEP:
        names = frozenset(str(each.arg) for each in node.keywords) - {"most_seconds"}
    else:
        names = names_in(node.args[position + 1], function) | ADDED.get(caller, set())
    return Site(f"{path.name}: {function.name}", text_of(node.args[position]), names)


def sql_calls() -> Iterator[tuple[str, str, str]]:
    """Of each call that is written in SQL: its file, the function and the text after the opening parenthesis."""
    for folder in FOLDERS:
        for path in sorted([*folder.rglob("*.py"), *folder.rglob("queries/*.sql")]):
            text = path.read_text("utf-8")
            for match in CALL.finditer(text):
                yield path.name, match[1], text[match.end() :]


def number_of_arguments(text: str) -> int:
    """How many arguments stand before the parenthesis that closes the call."""
    depth, commas, first = 0, 0, text[:1]
    for character in re.sub(r"'[^']*'", "''", text[:2_000]):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth < 0:
                break
        commas += character == "," and depth == 0
    return 0 if first == ")" else commas + 1


def test_a_call_from_python_names_exactly_the_functions_parameters() -> None:
    found = sites()
    assert {"put_consent", "run_erasure", "roll_up", "expire_rows", "redeem_pilot_token", "ingest_full_path"} <= {
        site.function for site in found
    }
    for site in found:
        assert site.function in signatures(), site
        assert sorted(site.parameters) == sorted(signatures()[site.function]), site


def test_a_call_in_sql_has_as_many_arguments_as_the_function() -> None:
    calls = list(sql_calls())
    assert len(calls) > 50
    for file, function, rest in calls:
        assert function in signatures(), f"{file} calls muster.{function}, which does not exist"
        if rest.startswith("{"):  # in Python, made from a number of parameters
            continue
        assert number_of_arguments(rest) == len(signatures()[function]), f"{file}: muster.{function}"


def test_the_fast_path_sends_all_parameters_of_its_function() -> None:
    assert len(signatures()["ingest_fast_path"]) == fast_path._PARAMETERS
