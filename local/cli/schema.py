"""`make schema`: writes schema.json, which describes what the migrations create. Verification compares with it."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from local.paths import MIGRATIONS, PROJECT
from local.postgres import PostgresError, start_postgres
from muster.db.migrate import migrate, read_functions, read_migrations
from muster.db.schema import read_schema
from muster.platform.errors import MusterError

TARGET = PROJECT / "layers" / "shared" / "muster" / "db" / "schema.json"


def describe(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """Describe a database fresh from the migrations, without the partitions, which depend on the date."""
    schema = read_schema(connection)
    del schema["partitions"]
    for role in schema["roles"].values():
        del role["is_rds_iam"]
    shipped = read_migrations(MIGRATIONS)
    return {
        **schema,
        "migrations": [[file.version, file.name, file.checksum] for file in shipped],
        "functions_checksum": read_functions(MIGRATIONS).checksum,
    }


def main() -> int:
    """Run the command. Return 1 if it failed."""
    try:
        with tempfile.TemporaryDirectory(prefix="muster-schema-") as folder:
            Path(folder).chmod(0o755)
            with (
                start_postgres(Path(folder) / "data", durable=False) as server,
                psycopg.connect(server.url, autocommit=True) as connection,
            ):
                migrate(connection, MIGRATIONS)
                described = describe(connection)
    except (MusterError, PostgresError) as error:
        print(error, file=sys.stderr)
        return 1
    TARGET.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", "utf-8")
    tables, functions = len(described["tables"]), len(described["functions"])
    print(f"Wrote {TARGET.relative_to(PROJECT)}: {tables} tables, {functions} functions.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
