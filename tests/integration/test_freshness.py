"""A response contains every event committed before the request, even while events are being rolled up."""

import threading
import uuid
from collections.abc import Callable
from typing import Any

import psycopg

from muster.metrics.overview import get_metrics
from muster.metrics.request import MetricsRequest
from muster.projects.projects import create_project
from tests.support.databases import Cluster, access_to

WRITERS, TRANSACTIONS, ROLLED_UP_AT_ONCE = 3, 1_500, 200
INSERT = (
    "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, event_type, area)"
    " SELECT %s, %s, gen_random_uuid(), now(), gen_random_uuid(), %s, 'a', 'b' FROM generate_series(1, %s)"
)


class Writer:
    """Commits events as fast as it can, and counts them before and after."""

    def __init__(self, url: str, project: uuid.UUID, number: int) -> None:
        self.begun = self.committed = self.transactions = 0
        self._url, self._project, self._user = url, project, f"user-{number}"

    def write(self, over: threading.Event) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while self.transactions < TRANSACTIONS and not over.is_set():
                size = self.transactions % 3 + 1
                self.begun += size
                with connection.transaction():
                    session = uuid.UUID(int=self.transactions % 50)
                    connection.execute(INSERT, (self._project, session, self._user, size))
                self.committed += size
                self.transactions += 1


def test_a_committed_event_is_in_the_next_response(postgres: Cluster) -> None:
    over, failures = threading.Event(), list[BaseException]()
    with postgres.database() as url, psycopg.connect(url, autocommit=True) as connection:
        project = create_project(connection, "fresh")
        writers = [Writer(url, project, number) for number in range(WRITERS)]
        roll_ups = RollUpLoop(url, project)
        threads = [start(work, over, failures) for work in (*(writer.write for writer in writers), roll_ups.roll_up)]
        request = MetricsRequest(timeframe="month", breakdown="eventType")
        try:
            while any(thread.is_alive() for thread in threads[:WRITERS]):
                committed = sum(writer.committed for writer in writers)
                answer = get_metrics(connection, access_to(project), request)
                begun = sum(writer.begun for writer in writers)
                assert committed <= answer.totals.events <= begun
                assert sum(bucket.events for bucket in answer.series) == answer.totals.events
                assert sum(each.events for each in answer.breakdown) == answer.totals.events
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert failures == []
        seen = get_metrics(connection, access_to(project), request).totals.events
        assert seen == sum(writer.committed for writer in writers)
        assert roll_ups.events > TRANSACTIONS


class RollUpLoop:
    """Rolls up a few events at a time, without a pause."""

    def __init__(self, url: str, project: uuid.UUID) -> None:
        self.events = 0
        self._url, self._project = url, project

    def roll_up(self, over: threading.Event) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not over.is_set():
                row = connection.execute(
                    "SELECT rolled_up FROM muster.roll_up(%s, %s)", (self._project, ROLLED_UP_AT_ONCE)
                ).fetchone()
                self.events += int(row[0]) if row else 0


Work = Callable[[threading.Event], Any]


def start(work: Work, over: threading.Event, failures: list[BaseException]) -> threading.Thread:
    def guarded() -> None:
        try:
            work(over)
        except BaseException as error:
            failures.append(error)
            over.set()

    thread = threading.Thread(target=guarded)
    thread.start()
    return thread
