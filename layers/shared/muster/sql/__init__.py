"""The statements that Muster runs, one file each; read once."""

from functools import cache
from importlib import resources


@cache
def query(name: str) -> bytes:
    """The text of sql/<name>.sql."""
    return (resources.files("muster.sql") / f"{name}.sql").read_bytes()
