"""SQL functions that take a key accept the kinds of key that PERMISSIONS lists."""

import re
from typing import Any

import psycopg

from muster.auth.permissions import PERMISSIONS

# The operation of each, by its name in PERMISSIONS.
OPERATIONS = {
    "ingest_fast_path": "save_batch",
    "ingest_full_path": "save_batch",
    "count_refused_request": "save_batch",
    "put_session": "put_session",
    "get_session": "get_session",
    "replay_rejection": "replay_rejections",
    "put_consent": "put_consent",
    "get_consent": "get_consent",
    "get_subject": "get_subject",
    "begin_erasure": "erase_subject",
    "run_erasure": "erase_subject",
    "issue_pilot_tokens": "issue_pilot_tokens",
    "get_pilot_tokens": "get_pilot_tokens",
    "revoke_pilot_token": "revoke_pilot_token",
    "redeem_pilot_token": "redeem_pilot_token",
}
# These answer about a key or note it, and do nothing else for it.
ABOUT_KEYS = {"authenticate", "project_of_key", "refusal_of_key", "note_key_use", "allowed_origins"}


def test_each_function_with_a_key_requires_the_kinds_in_the_table(connection: psycopg.Connection[Any]) -> None:
    statement = (
        "SELECT proname, prosrc FROM pg_proc"
        " WHERE pronamespace = 'muster'::regnamespace AND 'p_key_hash' = ANY (proargnames)"
    )
    sources = dict(connection.execute(statement).fetchall())
    # Add a new function above, with the operation that has its permissions.
    assert set(sources) == set(OPERATIONS) | ABOUT_KEYS
    for name, operation in OPERATIONS.items():
        asked = re.findall(r"project_of_key\(p_key_hash, '{([^}]*)}'\)", sources[name])
        assert [tuple(sorted(kinds.split(","))) for kinds in asked] == [tuple(sorted(PERMISSIONS[operation]))], name
