"""Names the differences between the migrations shipped and those recorded as applied."""

from collections.abc import Sequence
from typing import Any

from muster.schema_differences import Difference, as_owner

HISTORY = "muster.schema_migrations"


def migration_differences(
    shipped: Sequence[Sequence[Any]], applied: Sequence[Sequence[Any]], *, rest: Sequence[Difference]
) -> list[Difference]:
    """A difference for each migration that is not applied as shipped; both are (version, name, checksum).

    `rest` are the other differences: where all that a migration makes is there, only its record was lost.
    """
    expected = {version: (name, checksum) for version, name, checksum in shipped}
    known = {version: (name, checksum) for version, name, checksum in applied}
    only_the_record = all(HISTORY in difference.object or difference.problem == "unexpected" for difference in rest)
    listed = []
    for version in sorted({*expected, *known}):
        name, checksum = expected.get(version) or known[version]
        place = f"migration {name}"
        if version not in known:
            remedy = _record(version, name, checksum) if only_the_record else _MIGRATE
            listed.append(Difference(place, "missing", "applied", None, remedy))
        elif version not in expected:
            remedy = "-- Deploy the version of Muster that has this migration, or a later one."
            listed.append(Difference(place, "different", "shipped", "applied by a newer version", remedy))
        elif expected[version] != known[version]:
            remedy = "-- Restore the migration's file as it was applied, and put the change into a new migration."
            listed.append(Difference(place, "different", "as it was applied", "another text now", remedy))
    return listed


_MIGRATE = '-- Invoke the function migrate with {"action": "migrate"}, or run: make migrate'


def _record(version: int, name: str, checksum: str) -> str:
    return as_owner(
        f"INSERT INTO {HISTORY} (version, name, checksum, duration_ms) VALUES ({version}, '{name}', '{checksum}', 0) "
        "ON CONFLICT (version) DO UPDATE SET name = excluded.name, checksum = excluded.checksum"
    )
