"""The only module that reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from muster.platform.aws_credentials import AwsCredentials, CredentialSource
from muster.platform.errors import SettingMissing


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one function."""

    database_url: str = ""
    """Host and login in one URL. Empty if other settings hold the login, or if buffered ingest has no database."""
    database_host: str | None = None
    """Host of RDS or its proxy, for IAM logins: the login is `database_role`, the password a signed token."""
    database_port: int = 5432
    database_name: str = "muster"
    database_secret_arn: str | None = None
    """A secret that holds the login, as a URL or as the JSON object that RDS stores."""
    database_role: str | None = None
    """SQL role to act as; None acts as the login itself."""
    database_prepares: bool = False
    """Whether to prepare statements. Must be false behind a proxy or a pooler, where clients share server sessions."""
    migrations_dir: Path = Path("/opt")
    service_name: str = "muster"
    stage: str = "local"
    ingest_mode: str = "direct"
    queue_url: str | None = None
    dead_letter_queue_url: str | None = None
    archive_bucket: str | None = None
    """The S3 bucket that events are copied to; None for no archive."""
    admin_jwt_issuer: str | None = None
    """The issuer of JWTs that stand for admin keys; None accepts no JWTs."""
    admin_jwt_claim: str = "muster_projects"
    """The claim that holds the ids of a JWT's projects."""
    aws_region: str = "us-east-1"
    aws_credentials: CredentialSource = field(default_factory=CredentialSource)

    @property
    def only_queues(self) -> bool:
        """Whether this is buffered ingest, which cannot reach the database."""
        return self.ingest_mode == "buffered" and self.database_role == "muster_ingest"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Raises:
        SettingMissing: direct mode has no database, or buffered mode has no queue.
    """
    values = {name: value for name, value in (os.environ if environment is None else environment).items() if value}
    settings = Settings(
        database_url=values.get("DATABASE_URL", ""),
        database_host=values.get("DATABASE_HOST"),
        database_port=int(values.get("DATABASE_PORT", "5432")),
        database_name=values.get("DATABASE_NAME", "muster"),
        database_secret_arn=values.get("DATABASE_SECRET_ARN"),
        database_role=values.get("DATABASE_ROLE"),
        database_prepares=values.get("DATABASE_PREPARES") == "on",
        migrations_dir=Path(values.get("MIGRATIONS_DIR", "/opt")),
        service_name=values.get("SERVICE_NAME", "muster"),
        stage=values.get("STAGE", "local"),
        ingest_mode=values.get("INGEST_MODE", "direct"),
        queue_url=values.get("QUEUE_URL"),
        dead_letter_queue_url=values.get("DEAD_LETTER_QUEUE_URL"),
        archive_bucket=values.get("ARCHIVE_BUCKET"),
        admin_jwt_issuer=values.get("ADMIN_JWT_ISSUER"),
        admin_jwt_claim=values.get("ADMIN_JWT_CLAIM", "muster_projects"),
        aws_region=values.get("AWS_REGION", "us-east-1"),
        aws_credentials=_credential_source(values),
    )
    if settings.ingest_mode == "buffered" and settings.queue_url is None:
        raise SettingMissing("QUEUE_URL")
    if settings.ingest_mode != "buffered" and not (
        settings.database_url or settings.database_host or settings.database_secret_arn
    ):
        raise SettingMissing("DATABASE_URL")
    return settings


def load_allowed_origins(environment: Mapping[str, str] | None = None) -> list[str]:
    """The web origins that the deployment allows; each project may allow fewer."""
    values = os.environ if environment is None else environment
    return [origin.strip() for origin in (values.get("ALLOWED_ORIGINS") or "*").split(",")]


def starts_from_snapshot() -> bool:
    """Whether this environment runs under SnapStart."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def _credential_source(values: Mapping[str, str]) -> CredentialSource:
    key_id, secret = values.get("AWS_ACCESS_KEY_ID"), values.get("AWS_SECRET_ACCESS_KEY")
    if key_id and secret:
        return CredentialSource(AwsCredentials(key_id, secret, values.get("AWS_SESSION_TOKEN")))
    return CredentialSource(
        url=values.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        authorization=values.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    )
