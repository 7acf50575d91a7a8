"""Finds the differences between two schemas, each with the SQL that repairs it.

Their order lets the remedies run one after another: roles, the schema, tables, columns, constraints, indexes,
functions, triggers, grants, partitions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Schema = dict[str, Any]
Problem = Literal["missing", "different", "unexpected"]
OWNER = "muster_owner"
MONTHS_AHEAD = 2
COLUMN_PARTS = ("type", "not_null", "default", "identity")
MIGRATE = '-- Invoke the function migrate with {"action": "migrate"}, or run: make migrate'


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `remedy` can be pasted into psql; functions and triggers need a run of migrate after it."""

    object: str
    problem: Problem
    expected: str | None
    found: str | None
    remedy: str

    @property
    def sentence(self) -> str:
        """The difference as a sentence."""
        if self.problem == "different":
            return f"{self.object} is {self.found}; it should be {self.expected}."
        if self.problem == "missing":
            return f"{self.object} is missing."
        return f"{self.object} exists, but no migration creates it."


def differences(expected: Schema, found: Schema) -> list[Difference]:
    """All differences, in the order in which to run their remedies."""
    return [
        *_roles(expected, found),
        *_schema_owner(expected, found),
        *_tables(expected, found),
        *_columns(expected, found),
        *_constraints(expected, found),
        *_indexes(expected, found),
        *_functions(expected, found),
        *_triggers(expected, found),
        *_grants(expected, found),
        *_partitions(expected, found),
    ]


def as_owner(*statements: str) -> str:
    """The statements, run as the role that owns the schema."""
    return " ".join([f"SET ROLE {OWNER};", *(f"{statement.rstrip(';')};" for statement in statements), "RESET ROLE;"])


def _roles(expected: Schema, found: Schema) -> Iterator[Difference]:
    for role, wanted in expected["roles"].items():
        login = "LOGIN" if wanted["login"] else "NOLOGIN"
        settings = [f"ALTER ROLE {role} SET {name} = '{value}';" for name, value in wanted["settings"].items()]
        present = found["roles"].get(role)
        if present is None:
            iam = [f"GRANT rds_iam TO {role};"] if wanted["login"] and _is_on_rds(found) else []
            create = [f"CREATE ROLE {role} {login};", f"GRANT {role} TO CURRENT_USER;", *settings, *iam]
            yield Difference(f"role {role}", "missing", login, None, " ".join(create))
            continue
        if present["login"] != wanted["login"]:
            was = "NOLOGIN" if wanted["login"] else "LOGIN"
            yield Difference(f"role {role}", "different", login, was, f"ALTER ROLE {role} {login};")
        changed = {name for name, value in wanted["settings"].items() if present["settings"].get(name) != value}
        for name in sorted(changed):
            value, was = wanted["settings"][name], present["settings"].get(name) or "not set"
            remedy = f"ALTER ROLE {role} SET {name} = '{value}';"
            yield Difference(f"role {role} ({name})", "different", value, was, remedy)
        if wanted["login"] and present["is_rds_iam"] is False:
            yield Difference(f"role {role} (rds_iam)", "missing", "a member", None, f"GRANT rds_iam TO {role};")


def _is_on_rds(found: Schema) -> bool:
    return any(role["is_rds_iam"] is not None for role in found["roles"].values())


def _schema_owner(expected: Schema, found: Schema) -> Iterator[Difference]:
    owner, present = expected["schema_owner"], found["schema_owner"]
    if present is None:
        remedy = f"CREATE SCHEMA muster AUTHORIZATION {owner};"
        yield Difference("schema muster", "missing", f"owned by {owner}", None, remedy)
    elif present != owner:
        remedy = f"ALTER SCHEMA muster OWNER TO {owner};"
        yield Difference("schema muster", "different", f"owned by {owner}", f"owned by {present}", remedy)


def _tables(expected: Schema, found: Schema) -> Iterator[Difference]:
    for name, table in expected["tables"].items():
        place = f"table muster.{name}"
        present = found["tables"].get(name)
        if present is None:
            yield Difference(place, "missing", "a table", None, as_owner(*_create_table(name, table)))
            continue
        if present["owner"] != table["owner"]:
            remedy = f"ALTER TABLE muster.{name} OWNER TO {table['owner']};"
            yield Difference(place, "different", f"owned by {table['owner']}", f"owned by {present['owner']}", remedy)
        if present["partitioned"] != table["partitioned"]:
            remedy = f"ALTER TABLE muster.{name} RENAME TO {name}_old; -- then verify again and copy the rows back"
            was, is_now = (f"partitioned by {part['partitioned'] or 'nothing'}" for part in (table, present))
            yield Difference(place, "different", was, is_now, as_owner(remedy))
    for name in found["tables"]:
        if name not in expected["tables"]:
            remedy = f"DROP TABLE muster.{name};"
            yield Difference(f"table muster.{name}", "unexpected", None, "a table", remedy)


def _create_table(name: str, table: Schema) -> list[str]:
    columns = ", ".join(_column(column) for column in table["columns"])
    partitioned = f" PARTITION BY {table['partitioned']}" if table["partitioned"] else ""
    options = f" WITH ({', '.join(table['options'])})" if table["options"] else ""
    statements = [f"CREATE TABLE muster.{name} ({columns}){partitioned}{options}"]
    if table["partitioned"]:
        statements.append(f"CREATE TABLE muster.{name}_default PARTITION OF muster.{name} DEFAULT")
    return statements


def _column(column: Schema) -> str:
    identity = {"a": " GENERATED ALWAYS AS IDENTITY", "d": " GENERATED BY DEFAULT AS IDENTITY"}
    return (
        f"{column['name']} {column['type']}"
        + (f" DEFAULT {column['default']}" if column["default"] is not None else "")
        + (" NOT NULL" if column["not_null"] else "")
        + identity.get(column["identity"], "")
    )


def _columns(expected: Schema, found: Schema) -> Iterator[Difference]:
    for name, table in expected["tables"].items():
        if name not in found["tables"]:
            continue
        present = {column["name"]: column for column in found["tables"][name]["columns"]}
        for column in table["columns"]:
            place = f"column muster.{name}.{column['name']}"
            if column["name"] not in present:
                statement = f"ALTER TABLE muster.{name} ADD COLUMN {_column(column)}"
                yield Difference(place, "missing", _column(column), None, as_owner(statement))
            elif statements := _alterations(name, column, present[column["name"]]):
                was, is_now = _column(column), _column(present[column["name"]])
                yield Difference(place, "different", was, is_now, as_owner(*statements))
        known = {column["name"] for column in table["columns"]}
        for extra in present.keys() - known:
            statement = f"ALTER TABLE muster.{name} DROP COLUMN {extra}"
            yield Difference(f"column muster.{name}.{extra}", "unexpected", None, "a column", as_owner(statement))


def _alterations(table: str, expected: Schema, found: Schema) -> list[str]:
    changed = {part for part in COLUMN_PARTS if expected[part] != found[part]}
    name = expected["name"]
    alter = f"ALTER TABLE muster.{table} ALTER COLUMN {name}"
    statements = []
    if "default" in changed and found["default"] is not None:
        statements.append(f"{alter} DROP DEFAULT")
    if "type" in changed:
        statements.append(f"{alter} TYPE {expected['type']} USING {name}::{expected['type']}")
    if "default" in changed and expected["default"] is not None:
        statements.append(f"{alter} SET DEFAULT {expected['default']}")
    if "not_null" in changed:
        statements.append(f"{alter} {'SET' if expected['not_null'] else 'DROP'} NOT NULL")
    if "identity" in changed:
        statements.append(
            f"{alter} ADD GENERATED ALWAYS AS IDENTITY" if expected["identity"] else f"{alter} DROP IDENTITY"
        )
    return statements


def _constraints(expected: Schema, found: Schema) -> Iterator[Difference]:
    for key, definition in expected["constraints"].items():
        table, _, name = key.partition(".")
        place = f"constraint {name} of muster.{table}"
        add = f"ALTER TABLE muster.{table} ADD CONSTRAINT {name} {definition}"
        if key not in found["constraints"]:
            yield Difference(place, "missing", definition, None, as_owner(add))
        elif found["constraints"][key] != definition:
            drop = f"ALTER TABLE muster.{table} DROP CONSTRAINT {name}"
            yield Difference(place, "different", definition, found["constraints"][key], as_owner(drop, add))
    for key in found["constraints"].keys() - expected["constraints"].keys():
        table, _, name = key.partition(".")
        if table in expected["tables"]:
            statement = f"ALTER TABLE muster.{table} DROP CONSTRAINT {name}"
            place = f"constraint {name} of muster.{table}"
            yield Difference(place, "unexpected", None, found["constraints"][key], as_owner(statement))


def _indexes(expected: Schema, found: Schema) -> Iterator[Difference]:
    for key, definition in expected["indexes"].items():
        _, _, name = key.partition(".")
        if key not in found["indexes"]:
            yield Difference(f"index muster.{name}", "missing", definition, None, as_owner(definition))
        elif found["indexes"][key] != definition:
            remedy = as_owner(f"DROP INDEX muster.{name}", definition)
            yield Difference(f"index muster.{name}", "different", definition, found["indexes"][key], remedy)
    for key in found["indexes"].keys() - expected["indexes"].keys():
        table, _, name = key.partition(".")
        if table in expected["tables"]:
            remedy = as_owner(f"DROP INDEX muster.{name}")
            yield Difference(f"index muster.{name}", "unexpected", None, found["indexes"][key], remedy)


# Functions and triggers are replaced all together whenever no checksum of their files is recorded.
_REPLACE = as_owner("DELETE FROM muster.schema_functions") + f" {MIGRATE}"


def _functions(expected: Schema, found: Schema) -> Iterator[Difference]:
    for signature, function in expected["functions"].items():
        place = f"function muster.{signature}"
        present = found["functions"].get(signature)
        if present is None:
            yield Difference(place, "missing", "a function", None, _REPLACE)
        elif present["owner"] != function["owner"]:
            remedy = f"ALTER FUNCTION muster.{signature} OWNER TO {function['owner']};"
            was, is_now = f"owned by {function['owner']}", f"owned by {present['owner']}"
            yield Difference(place, "different", was, is_now, remedy)
        elif present["sha256"] != function["sha256"]:
            yield Difference(place, "different", "as shipped", "changed", _REPLACE)
    for signature in found["functions"].keys() - expected["functions"].keys():
        remedy = f"DROP FUNCTION muster.{signature};"
        yield Difference(f"function muster.{signature}", "unexpected", None, "a function", remedy)


def _triggers(expected: Schema, found: Schema) -> Iterator[Difference]:
    for key, definition in expected["triggers"].items():
        table, _, name = key.partition(".")
        place = f"trigger {name} of muster.{table}"
        if key not in found["triggers"]:
            yield Difference(place, "missing", definition, None, _REPLACE)
        elif found["triggers"][key] != definition:
            yield Difference(place, "different", definition, found["triggers"][key], _REPLACE)
    for key in found["triggers"].keys() - expected["triggers"].keys():
        table, _, name = key.partition(".")
        if table in expected["tables"]:
            remedy = as_owner(f"DROP TRIGGER {name} ON muster.{table}")
            yield Difference(f"trigger {name} of muster.{table}", "unexpected", None, found["triggers"][key], remedy)


def _grants(expected: Schema, found: Schema) -> Iterator[Difference]:
    wanted = [tuple(grant) for grant in expected["grants"]]
    present = {tuple(grant) for grant in found["grants"]}
    # The file of a missing function grants what the function needs.
    missing = {f"FUNCTION muster.{signature}" for signature in expected["functions"].keys() - found["functions"].keys()}
    for object_name, privilege, role in wanted:
        if (object_name, privilege, role) not in present and object_name not in missing:
            statement = f"GRANT {_on(object_name, privilege)} TO {role}"
            place = f"grant of {privilege} on {object_name} to {role}"
            yield Difference(place, "missing", "granted", None, as_owner(statement))
    for object_name, privilege, role in sorted(present - set(wanted)):
        statement = as_owner(f"REVOKE {_on(object_name, privilege)} FROM {role}")
        place = f"grant of {privilege} on {object_name} to {role}"
        if role == "PUBLIC":
            yield Difference(place, "different", "not granted", "granted to PUBLIC", statement)
        else:
            yield Difference(place, "unexpected", None, "granted", statement)


def _on(object_name: str, privilege: str) -> str:
    kind, _, name = object_name.partition(" ")
    if kind == "TABLE" and name.endswith(")"):
        table, _, column = name[:-1].partition(" (")
        return f"{privilege} ({column}) ON TABLE {table}"
    return f"{privilege} ON {kind} {name}"


def _partitions(expected: Schema, found: Schema) -> Iterator[Difference]:
    now = datetime.now(UTC)
    present = set(found["partitions"])
    if "analytics_events" in found["tables"] and "analytics_events_default" not in present:
        statement = "CREATE TABLE muster.analytics_events_default PARTITION OF muster.analytics_events DEFAULT"
        place = "partition muster.analytics_events_default"
        yield Difference(place, "missing", "the default partition", None, as_owner(statement))
    has_functions = expected["functions"].keys() <= found["functions"].keys()
    for ahead in range(MONTHS_AHEAD + 1):
        years, month = divmod(now.month - 1 + ahead, 12)
        year, month = now.year + years, month + 1
        name = f"analytics_events_{year:04d}_{month:02d}"
        if name not in present:
            first = f"{year:04d}-{month:02d}-01"
            statement = f"SELECT muster.ensure_partitions('{first}', '{first}')"
            remedy = as_owner(statement) if has_functions else MIGRATE
            yield Difference(f"partition muster.{name}", "missing", f"the month of {first}", None, remedy)
