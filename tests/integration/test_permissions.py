"""The functions in SQL that take a key check its kind as muster.auth.permissions.PERMISSIONS does."""

import re
from typing import Any

import psycopg

from muster.auth.permissions import EVERY_KEY, PERMISSIONS

# The operation of each, by its name in PERMISSIONS.
OPERATIONS = {
    "record_events": "save_batch",
    "record_plain_batch": "save_batch",
    "record_plain_event": "save_batch",
    "record_refused_request": "save_batch",
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
# These leave it to another one.
OF_OTHERS = {"record_plain_events": "record_plain_batch", "show_session": "get_session"}
# They tell of a key, or note it, and do nothing else for it.
ABOUT_KEYS = {"authenticate", "project_of_key", "note_key_use", "allowed_origins"}


def test_every_function_that_takes_a_key_asks_for_the_kinds_of_the_table(connection: psycopg.Connection[Any]) -> None:
    statement = (
        "SELECT proname, prosrc FROM pg_proc"
        " WHERE pronamespace = 'muster'::regnamespace AND 'p_key_hash' = ANY (proargnames)"
    )
    sources = dict(connection.execute(statement).fetchall())
    # A new one is named above, with the operation whose rights it shares.
    assert set(sources) == set(OPERATIONS) | ABOUT_KEYS | set(OF_OTHERS)
    for name, operation in OPERATIONS.items():
        assert _asked_by(sources[name]) == PERMISSIONS[operation], name
    for name, other in OF_OTHERS.items():
        assert f"muster.{other}(p_key_hash, " in sources[name], name


def _asked_by(source: str) -> tuple[str, ...]:
    asked = re.findall(r"kind (?:(?:NOT )?IN \(([^)]*)\)|<> ('\w+'))|project_of_key\(p_key_hash, '{([^}]*)}'\)", source)
    assert len(asked) <= 1
    return tuple(re.findall(r"\w+", "".join(asked[0]))) if asked else EVERY_KEY
