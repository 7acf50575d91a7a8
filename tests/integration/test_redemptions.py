"""Concurrent redemptions of a pilot token, over as many real connections as the server allows."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from muster.auth.keys import hash_key
from muster.db.client import call
from tests.support.databases import Project

SUBJECTS = 100
# At once; the server lets in a hundred, and a few must be left for the test's own.
HANDS = 50
TOKEN = "mp_of-the-test"  # noqa: S105 - of this test


def issue(connection: psycopg.Connection[Any], project: Project, *, max_uses: int) -> None:
    connection.execute(
        "INSERT INTO muster.pilot_tokens (project_id, token_hash, prefix, participant_type, max_uses)"
        " VALUES (%s, %s, 'mp_of-th', 'tester', %s)",
        (project.id, hash_key(TOKEN), max_uses),
    )


def redeem_all(database_url: str, project: Project, users: list[str]) -> list[dict[str, Any]]:
    """Redeem over one connection each, in waves that start together."""
    asked: list[dict[str, Any]] = []

    def redeem(user: str, together: threading.Barrier) -> dict[str, Any]:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("SET ROLE muster_people")
            together.wait(timeout=60)
            parameters = {
                "key_hash": hash_key(project.keys["write"]),
                "token_hash": hash_key(TOKEN),
                "user_id": user,
                "session_id": None,
            }
            return call(connection, "redeem_pilot_token", parameters)

    with ThreadPoolExecutor(HANDS) as hands:
        for first in range(0, len(users), HANDS):
            wave = users[first : first + HANDS]
            barrier = threading.Barrier(len(wave))
            asked += hands.map(redeem, wave, [barrier] * len(wave))
    return asked


def outcomes(answers: list[dict[str, Any]]) -> Counter[str]:
    return Counter(answer.get("refused", "redeemed") for answer in answers)


@pytest.mark.parametrize("max_uses", [1, 7])
def test_a_token_is_redeemed_as_often_as_it_has_uses_and_no_more(
    database_url: str, project: Project, max_uses: int
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        issue(connection, project, max_uses=max_uses)
        answers = redeem_all(database_url, project, [f"user {number}" for number in range(SUBJECTS)])
        assert outcomes(answers) == {"redeemed": max_uses, "token_used_up": SUBJECTS - max_uses}
        rows = connection.execute("SELECT user_id FROM muster.pilot_redemptions").fetchall()
        assert len(rows) == max_uses
        assert connection.execute("SELECT uses FROM muster.pilot_tokens").fetchall() == [(max_uses,)]


def test_concurrent_redemptions_by_one_user_count_once(database_url: str, project: Project) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        issue(connection, project, max_uses=SUBJECTS)
        answers = redeem_all(database_url, project, ["ada"] * SUBJECTS)
        assert outcomes(answers) == {"redeemed": SUBJECTS}
        assert len({answer["redeemed_at"] for answer in answers}) == 1
        assert datetime.fromisoformat(answers[0]["redeemed_at"]) <= datetime.now(UTC)
        assert connection.execute("SELECT uses FROM muster.pilot_tokens").fetchall() == [(1,)]
        assert connection.execute("SELECT count(*) FROM muster.pilot_redemptions").fetchall() == [(1,)]
