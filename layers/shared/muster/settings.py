"""The only module that reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from muster.errors import SettingMissing


@dataclass(frozen=True, slots=True)
class Settings:
    """What one function needs to know of its deployment."""

    database_url: str
    database_role: str | None = None
    """SQL role to act as; None acts as the login itself."""
    migrations_dir: Path = Path("/opt")
    service_name: str = "muster"
    stage: str = "local"
    ingest_mode: str = "direct"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Raises:
        SettingMissing: when DATABASE_URL is not set.
    """
    values = os.environ if environment is None else environment
    if not (database_url := values.get("DATABASE_URL")):
        raise SettingMissing("DATABASE_URL")
    return Settings(
        database_url=database_url,
        database_role=values.get("DATABASE_ROLE") or None,
        migrations_dir=Path(values.get("MIGRATIONS_DIR") or "/opt"),
        service_name=values.get("SERVICE_NAME") or "muster",
        stage=values.get("STAGE") or "local",
        ingest_mode=values.get("INGEST_MODE") or "direct",
    )
