"""Describes the machine and the versions of a measurement."""

import platform
import sys
from pathlib import Path

import psycopg


def describe(connection: psycopg.Connection[tuple[object, ...]]) -> str:
    """One line, such as "2 of AMD EPYC, Linux 6.1, CPython 3.13.0, PostgreSQL 18.6"."""
    row = connection.execute("SHOW server_version").fetchone()
    version = str(row[0]).split()[0] if row else "?"
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{_processors()}, {system}, CPython {sys.version.split()[0]}, PostgreSQL {version}"


def _processors() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in _lines(info) if line.startswith("model name")]
    return f"{len(names)} of {names[0]}" if names else platform.machine()


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []
