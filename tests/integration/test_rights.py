"""The functions in SQL that take a key judge its kind as muster.rights.RIGHTS does."""

import re
from typing import Any

import psycopg

from muster.rights import RIGHTS

# What each does, by its name in RIGHTS.
VERBS = {
    "record_events": "save_events",
    "record_plain_batch": "save_events",
    "record_plain_events": "save_events",
    "record_refused_request": "save_events",
    "put_session": "put_session",
    "get_session": "get_session",
    "replay_rejection": "replay_rejections",
}
# They tell of a key, or note it, and do nothing else for it.
ABOUT_KEYS = {"authenticate", "note_key_use", "allowed_origins"}


def test_every_function_that_takes_a_key_asks_for_the_kinds_of_the_table(connection: psycopg.Connection[Any]) -> None:
    statement = (
        "SELECT proname, prosrc FROM pg_proc"
        " WHERE pronamespace = 'muster'::regnamespace AND 'p_key_hash' = ANY (proargnames)"
    )
    sources = dict(connection.execute(statement).fetchall())
    # A new one is named above, with the verb whose rights it shares.
    assert set(sources) == set(VERBS) | ABOUT_KEYS
    for name, verb in VERBS.items():
        (asked,) = re.findall(r"kind (?:NOT IN \(([^)]*)\)|<> ('\w+'))", sources[name])
        assert tuple(re.findall(r"'(\w+)'", "".join(asked))) == RIGHTS[verb], name
