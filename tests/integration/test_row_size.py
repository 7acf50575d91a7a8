"""The size of an event in the database, which the cost estimate uses."""

import json

import psycopg

from local.cli.costs import ROW_BYTES
from muster.db.client import Database
from muster.platform.settings import Settings
from muster.service import AnalyticsService
from tests.support.databases import make_project
from tests.support.functions import a_batch, an_event

EVENTS, A_BATCH = 20_000, 200
SIZES = """
SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'muster.analytics_events'::regclass
"""


def test_an_event_takes_the_documented_space(database_url: str) -> None:
    key = make_project(database_url).keys["write"]
    database = Database(Settings(database_url=database_url))
    service = AnalyticsService(database, key=key)
    with psycopg.connect(database_url, autocommit=True) as connection:
        (empty,) = connection.execute(SIZES).fetchone() or (0,)
        referrer = "https://www.example.com/search?q=somebody"
        data = {"path": "/products/4711", "referrer": referrer, "plan": "pilot", "position": 3, "experiment": "b"}
        example = an_event(data=data)
        assert 250 < len(json.dumps(example)) < 350
        for _ in range(EVENTS // A_BATCH):
            batch = a_batch(*(an_event(data=data) for _ in range(A_BATCH)), userId="somebody")
            service.save_events("somebody", batch["sessionId"], batch["events"])
        (full,) = connection.execute(SIZES).fetchone() or (0,)
    database.close()
    measured = (full - empty) / EVENTS
    print(f"{measured:.0f} bytes an event")
    assert ROW_BYTES * 0.6 < measured < ROW_BYTES
