"""The checks that compare the schema with what the shipped migrations create, and the write canary."""

from muster.db.client import Connection, call
from muster.db.queries import query
from muster.diagnostics.checks.model import LISTED, Context, Finding

# The kinds of object that each check compares.
_KINDS = {
    "migrations": ("migration",),
    "schema": ("schema", "table", "column", "index", "constraint", "function", "trigger"),
    "grants": ("role", "grant"),
    "partitions": ("partition",),
}


def migrations(_: Connection, context: Context) -> Finding:
    """Whether the applied migrations are the shipped ones."""
    return _compared(context, "Every shipped migration is applied, and no other.", "migrations")


def schema(_: Connection, context: Context) -> Finding:
    """Whether tables, columns, indexes, constraints, functions and triggers are complete and unchanged."""
    passed = "Every table, column, index, constraint, function and trigger is as the migrations create it."
    return _compared(context, passed, "schema")


def grants(_: Connection, context: Context) -> Finding:
    """Whether the roles exist and have their grants."""
    return _compared(context, "Every role exists and has the grants that it needs.", "grants")


def partitions(_: Connection, context: Context) -> Finding:
    """Whether the partitions of this month and the next ones exist."""
    return _compared(context, "The partitions of this month and the next ones exist.", "partitions")


def write_canary(connection: Connection, context: Context) -> Finding:
    """Send an event through ingest and roll it back."""
    answer = call(connection, "write_canary", {"project_id": context.project_id})
    if answer.get("ok"):
        return Finding("pass", "A test event passed through ingest and was rolled back.")
    state, table = answer.get("sqlstate"), answer.get("table") or None
    data = {"sqlstate": state, "table": table}
    if causes := _causes(context):
        return Finding("skip", f"Events cannot be stored (SQLSTATE {state}): see {' and '.join(causes)}.", data=data)
    summary = f"Events cannot be stored: SQLSTATE {state}."
    return Finding("fail", summary, _remedy(connection, context, answer), data)


def _causes(context: Context) -> list[str]:
    """The failed checks that explain why no event can be stored. The canary has nothing to add to them."""
    kinds = {each.object.split()[0] for each in (context.verification.differences if context.verification else [])}
    of_schema = [name for name, found in _KINDS.items() if kinds & set(found)]
    return [name for name in context.failed if name == "server"] + of_schema


def _remedy(connection: Connection, context: Context, answer: dict[str, object]) -> str:
    # The table that PostgreSQL names may be a partition, so constraints are searched by name only.
    places = (f"constraint {answer.get('constraint')} of ", "trigger ")
    unexpected = context.verification.unexpected if context.verification else []
    found = [each.remedy for each in unexpected if each.object.startswith(places)]
    found += [str(row[0]) for row in connection.execute(query("diagnostics/get_foreign_rules")).fetchall()]
    if found:
        return "\n".join(found)
    return "Read the server's log for the cause. If its disk is full, raise AllocatedStorage."


def _compared(context: Context, passed: str, check: str) -> Finding:
    kinds = _KINDS[check]
    if context.verification is None:
        return Finding("fail", "The schema could not be read.", "Read the server's log for the cause.")
    found = [each for each in context.verification.differences if each.object.split()[0] in kinds]
    extra = [each.sentence for each in context.verification.unexpected if each.object.split()[0] in kinds]
    if not found:
        return Finding("pass", passed, data={"unexpected": extra[:LISTED]} if extra else {})
    listed = [
        {"object": difference.object, "problem": difference.problem, "remedy": difference.remedy}
        for difference in found[:LISTED]
    ]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    remedy = "\n".join(difference.remedy for difference in found[:LISTED])
    return Finding("fail", f"{found[0].sentence.rstrip('.')}{more}.", remedy, {"differences": listed})
