"""The checks of the schema against what the shipped migrations create, and of an event's way through it."""

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
    """What was applied."""
    return _compared(context, "Every shipped migration is applied, and no other.", "migrations")


def schema(_: Connection, context: Context) -> Finding:
    """Tables and what is in them."""
    well = "Every table, column, index, constraint, function and trigger is as the migrations create it."
    return _compared(context, well, "schema")


def grants(_: Connection, context: Context) -> Finding:
    """Roles and what they may do."""
    return _compared(context, "Each role may do what it must.", "grants")


def partitions(_: Connection, context: Context) -> Finding:
    """Where the events of this month and the next will go."""
    return _compared(context, "There are partitions for this month and those to come.", "partitions")


def write_canary(connection: Connection, context: Context) -> Finding:
    """Sends an event the way that all take, and takes it back."""
    answer = call(connection, "write_canary", {"project_id": context.project_id})
    if answer.get("ok"):
        return Finding("pass", "An event went through the ingest path, and was taken back.")
    state, table = answer.get("sqlstate"), answer.get("table") or None
    data = {"sqlstate": state, "table": table}
    if causes := _causes(context):
        return Finding("skip", f"No event can be stored (SQLSTATE {state}): see {' and '.join(causes)}.", data=data)
    return Finding("fail", f"An event cannot be stored: SQLSTATE {state}.", _remedy(connection, context, answer), data)


def _causes(context: Context) -> list[str]:
    """The checks that name what stands in every event's way: beside them, the canary has nothing to add."""
    kinds = {each.object.split()[0] for each in (context.verification.differences if context.verification else [])}
    of_schema = [name for name, found in _KINDS.items() if kinds & set(found)]
    return [name for name in context.failed if name == "server"] + of_schema


def _remedy(connection: Connection, context: Context, answer: dict[str, object]) -> str:
    # The table that PostgreSQL names may be a partition of ours.
    places = (f"constraint {answer.get('constraint')} of ", "trigger ")
    unexpected = context.verification.unexpected if context.verification else []
    found = [each.remedy for each in unexpected if each.object.startswith(places)]
    found += [str(row[0]) for row in connection.execute(query("diagnostics/get_foreign_rules")).fetchall()]
    if found:
        return "\n".join(found)
    return "See the server's log for what it refused; where its disk is full, raise AllocatedStorage."


def _compared(context: Context, well: str, check: str) -> Finding:
    kinds = _KINDS[check]
    if context.verification is None:
        return Finding("fail", "The schema could not be read.", "See the server's log.")
    found = [each for each in context.verification.differences if each.object.split()[0] in kinds]
    extra = [each.sentence for each in context.verification.unexpected if each.object.split()[0] in kinds]
    if not found:
        return Finding("pass", well, data={"unexpected": extra[:LISTED]} if extra else {})
    listed = [
        {"object": difference.object, "problem": difference.problem, "remedy": difference.remedy}
        for difference in found[:LISTED]
    ]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    remedy = "\n".join(difference.remedy for difference in found[:LISTED])
    return Finding("fail", f"{found[0].sentence.rstrip('.')}{more}.", remedy, {"differences": listed})
