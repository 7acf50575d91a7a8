"""What each kind of key may do. This module does not import the database, because routes for files use it too."""

from collections.abc import Mapping

WRITERS = ("write", "admin")
READERS = ("read", "admin")
ADMINS = ("admin",)
EVERY_KEY = ("write", "read", "admin")
PUBLIC = ()

# The kinds of key that each operation allows. A route, its service method and its topic function share the operation's
# name, and Route refuses an operation that is not listed here. SQL functions that take a key check its kind themselves:
# tests compare them with this table, and call every route with every kind of key.
PERMISSIONS: Mapping[str, tuple[str, ...]] = {
    "save_batch": WRITERS,
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
    "get_delivery_report": READERS,
    "get_rejections": READERS,
    "replay_rejections": ADMINS,
    "check_health": PUBLIC,
    "answer_preflight": PUBLIC,
    "get_dashboard": PUBLIC,
    "get_asset": PUBLIC,
    "get_client": PUBLIC,
    "get_description": PUBLIC,
}
