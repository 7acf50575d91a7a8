"""Describes the machine and the versions of a measurement."""

import platform
import sys
from pathlib import Path

import psycopg


def describe(connection: psycopg.Connection[tuple[object, ...]]) -> str:
    """One line, such as "2 of AMD EPYC (family 25, model 1), Linux 6.1, CPython 3.13.0, PostgreSQL 18.6"."""
    row = connection.execute("SHOW server_version").fetchone()
    version = str(row[0]).split()[0] if row else "?"
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{_processors()}, {system}, CPython {sys.version.split()[0]}, PostgreSQL {version}"


def _processors() -> str:
    fields = [line.partition(":") for line in _lines(Path("/proc/cpuinfo"))]
    names = [value.strip() for name, _, value in fields if name.startswith("model name")]
    if not names:
        return platform.machine()
    # Clouds shorten the name, so that several generations share it.
    first = {name.strip(): value.strip() for name, _, value in reversed(fields)}
    return f"{len(names)} of {names[0]} (family {first.get('cpu family', '?')}, model {first.get('model', '?')})"


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []
