"""Sends the demo data through the API: five weeks of history, and events as they happen."""

import random
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from local.demo.data import DemoData, bot_visit, invalid_events

BATCH = 500
PAUSE_SECONDS = (0.5, 3.0)
SPARE_TOKENS = 5


class DemoFailed(Exception):
    """The API refused a request of the demo. The message says which."""


class Api:
    """The API, with one of its keys."""

    def __init__(self, url: str, key: str) -> None:
        # The server must not take this user agent for a browser or a crawler.
        headers = {"authorization": f"Bearer {key}", "user-agent": "python-muster-demo"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def try_to(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send a request that may fail."""
        return self._client.request(method, path, json=body)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request and return the JSON of its response.

        Raises:
            DemoFailed: the response is an error.
        """
        response = self.try_to(method, path, body)
        if response.is_error:
            raise DemoFailed(f"{method} {path} returned {response.status_code}: {response.text[:300]}")
        return response.json()


def fill(url: str, keys: dict[str, str]) -> None:
    """Send the history to an empty project. Do nothing if the project has events."""
    with Api(url, keys["admin"]) as admin, Api(url, keys["write"]) as write:
        if admin.send("GET", "/v1/metrics?timeframe=all")["totals"]["events"]:
            print("The demo data is already there.", flush=True)
            return
        now = datetime.now(UTC)
        demo = DemoData(now)
        events = demo.events()
        print(f"Sending demo data: {len(events):,} events of {len(demo.participants)} participants.", flush=True)
        _grant_consent(admin, demo)
        _redeem_tokens(admin, demo, now)
        for first in range(0, len(events), BATCH):
            admin.send("POST", "/v1/events", {"events": events[first : first + BATCH]})
        _withdraw_consent(admin, demo)
        # The write key accepts events of the last year only, so some of these are too old for it.
        write.send("POST", "/v1/events", {"events": invalid_events(now)})
        write.send("POST", "/v1/events", bot_visit(now))


def send_live_events(write: Api) -> None:
    """Send live sessions, one event at a time, until the server stops."""
    rng = random.Random()  # noqa: S311 - decides when made-up people act
    demo = DemoData(datetime.now(UTC), seed=rng.randrange(1 << 30))
    sessions: list[Iterator[dict[str, Any]]] = []
    while True:
        if len(sessions) < rng.randint(2, 6):
            sessions.append(iter(demo.random_session(datetime.now(UTC))))
        session = rng.choice(sessions)
        event = next(session, None)
        if event is None:
            sessions.remove(session)
            continue
        # The demo data plays one session after another. Here several run at once, so each event happens now.
        at = datetime.now(UTC).isoformat()
        write.try_to("POST", "/v1/events", {"events": [{**event, "id": str(uuid.uuid4()), "timestamp": at}]})
        time.sleep(rng.uniform(*PAUSE_SECONDS))


def _grant_consent(admin: Api, demo: DemoData) -> None:
    for person in demo.participants:
        granted = {"status": "granted", "version": "2026-09", "dataUsageAccepted": True}
        admin.send("PUT", "/v1/consent", {"userId": person.user_id, **granted, "decidedAt": person.joined.isoformat()})


def _withdraw_consent(admin: Api, demo: DemoData) -> None:
    """Two participants withdraw. Their stored events stay, and later ones are ignored."""
    for person in (demo.participants[20], demo.participants[41]):
        withdrawn = {"status": "withdrawn", "version": "2026-09", "dataUsageAccepted": False}
        admin.send("PUT", "/v1/consent", {"userId": person.user_id, **withdrawn})


def _redeem_tokens(admin: Api, demo: DemoData, now: datetime) -> None:
    """Each participant redeems a token. Some tokens stay unused."""
    expires = (now + timedelta(days=30)).isoformat()
    for kind in dict.fromkeys(person.type for person in demo.participants):
        people = [person for person in demo.participants if person.type == kind]
        count = len(people) + SPARE_TOKENS
        issue = {"participantType": kind, "count": count, "note": "first round", "expiresAt": expires}
        tokens = admin.send("POST", "/v1/pilot-tokens", issue)["tokens"]
        for person, token in zip(people, tokens, strict=False):
            admin.send("POST", "/v1/pilot-tokens/redeem", {"token": token["token"], "userId": person.user_id})
