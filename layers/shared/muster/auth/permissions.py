"""What each kind of key may do. It stands beside `keys`, which asks the database: routes of files need but this."""

from collections.abc import Mapping

WRITERS = ("write", "admin")
READERS = ("read", "admin")
ADMINS = ("admin",)
EVERY_KEY = ("write", "read", "admin")
ANYONE = ()

# What each kind of key may do: the one table, by the verb that a route, the service and its topic share. A route whose
# verb is not in it cannot be made. Functions in SQL that take a key judge it in the statement that does the work; tests
# compare them with this, and ask every route with every kind of key.
RIGHTS: Mapping[str, tuple[str, ...]] = {
    "save_events": WRITERS,
    "put_session": WRITERS,
    "get_session": READERS,
    "put_consent": WRITERS,
    "get_consent": EVERY_KEY,
    "get_subject": ADMINS,
    "erase_subject": ADMINS,
    "issue_pilot_tokens": ADMINS,
    "get_pilot_tokens": ADMINS,
    "revoke_pilot_token": ADMINS,
    "redeem_pilot_token": WRITERS,
    "get_metrics": READERS,
    "get_recent_events": READERS,
    "get_recent_sessions": READERS,
    "get_user": READERS,
    "get_funnel": READERS,
    "get_retention": READERS,
    "export_events": READERS,
    "run_diagnostics": READERS,
    "trace_event": READERS,
    "get_session_ledger": READERS,
    "get_rejections": READERS,
    "replay_rejections": ADMINS,
    "check_health": ANYONE,
    "answer_preflight": ANYONE,
    "get_dashboard": ANYONE,
    "get_asset": ANYONE,
    "get_client": ANYONE,
    "get_description": ANYONE,
}
