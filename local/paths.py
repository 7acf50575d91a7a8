"""Names the files and folders of the project that local tools use."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
TEMPLATE = PROJECT / "template.yaml"
MIGRATIONS = PROJECT / "migrations"
STATE = PROJECT / ".muster"
