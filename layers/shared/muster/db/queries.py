"""The SQL that Muster runs: statements from .sql files next to the package that uses them, and SQL function calls."""

from functools import cache
from importlib import resources


@cache
def query(name: str) -> bytes:
    """The text of a statement: "metrics/get_metrics" is queries/get_metrics.sql in the package muster.metrics."""
    package, _, statement = name.partition("/")
    return (resources.files("muster") / package / "queries" / f"{statement}.sql").read_bytes()


@cache
def call_of(function: str, parameters: tuple[str, ...]) -> bytes:
    """A call of the SQL function muster.<function>, which returns one value; its parameters are named p_<parameter>."""
    return f"SELECT {_call(function, parameters)}".encode()


@cache
def rows_of(function: str, parameters: tuple[str, ...]) -> bytes:
    """A call of the SQL function muster.<function>, which returns rows; its parameters are named p_<parameter>."""
    return f"SELECT * FROM {_call(function, parameters)}".encode()


def _call(function: str, parameters: tuple[str, ...]) -> str:
    return f"muster.{function}({', '.join(f'p_{name} => %({name})s' for name in parameters)})"
