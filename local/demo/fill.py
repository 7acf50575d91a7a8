"""Posts the demo data through the API: what happened before today, and events as they happen."""

import random
import subprocess
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from local.demo.data import Study, bot_visit, faulty

BATCH = 500
PAUSE_SECONDS = (0.5, 3.0)
TOKENS_A_TYPE = 5


class DemoFailed(Exception):
    """It cannot go on; says why."""


class Api:
    """The API that make run serves, with one of its keys."""

    def __init__(self, url: str, key: str) -> None:
        # Not a browser's name, and not a crawler's.
        headers = {"authorization": f"Bearer {key}", "user-agent": "python-muster-demo"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """The answer, whatever it says."""
        return self._client.request(method, path, json=body)

    def get(self, method: str, path: str, body: Any = None) -> Any:
        """What a request is answered that must succeed."""
        response = self.ask(method, path, body)
        if response.is_error:
            raise DemoFailed(f"{method} {path} was answered {response.status_code}: {response.text[:300]}")
        return response.json()


def fill(url: str, keys: dict[str, str]) -> None:
    """Put the study into an empty project; what has it already is left alone."""
    with Api(url, keys["admin"]) as admin, Api(url, keys["write"]) as write:
        if admin.get("GET", "/v1/metrics?timeframe=all")["totals"]["events"]:
            print("The study is there already (FRESH=1 makes it anew).", flush=True)
            return
        now = datetime.now(UTC)
        study = Study(now)
        print(f"Making a pilot study of {len(study.participants)} participants.", flush=True)
        _agree(admin, study)
        _hand_out_tokens(admin, study, now)
        events = study.events()
        for first in range(0, len(events), BATCH):
            admin.get("POST", "/v1/events", {"events": events[first : first + BATCH]})
        _change_minds(admin, study)
        # With the write key, whose window is the last year.
        write.get("POST", "/v1/events", {"events": faulty(now)})
        write.get("POST", "/v1/events", bot_visit(now))
        print(f"Stored {len(events):,} events of five weeks.", flush=True)


def _agree(admin: Api, study: Study) -> None:
    for person in study.participants:
        agreed = {"status": "granted", "version": "2026-09", "dataUsageAccepted": True}
        admin.get("PUT", "/v1/consent", {"userId": person.user_id, **agreed, "decidedAt": person.joined.isoformat()})


def _change_minds(admin: Api, study: Study) -> None:
    """Two have had enough: what is stored stays, what comes from now on is ignored."""
    for person in (study.participants[20], study.participants[41]):
        withdrawn = {"status": "withdrawn", "version": "2026-09", "dataUsageAccepted": False}
        admin.get("PUT", "/v1/consent", {"userId": person.user_id, **withdrawn})


def _hand_out_tokens(admin: Api, study: Study, now: datetime) -> None:
    """Each participant redeems a token; some tokens are left."""
    for kind in dict.fromkeys(person.type for person in study.participants):
        people = [person for person in study.participants if person.type == kind]
        wanted = {"participantType": kind, "count": len(people) + TOKENS_A_TYPE, "note": "first round"}
        tokens = admin.get("POST", "/v1/pilot-tokens", {**wanted, "expiresAt": (now + timedelta(days=30)).isoformat()})[
            "tokens"
        ]
        for person, token in zip(people, tokens, strict=False):
            admin.get("POST", "/v1/pilot-tokens/redeem", {"token": token["token"], "userId": person.user_id})


def trickle(process: "subprocess.Popen[bytes]", write: Api) -> None:
    """Live sessions, an event at a time, until the server ends."""
    chance = random.Random()  # noqa: S311 - when made-up people act
    study = Study(datetime.now(UTC), seed=chance.randrange(1 << 30))
    running: list[Iterator[dict[str, Any]]] = []
    while process.poll() is None:
        if len(running) < chance.randint(2, 6):
            running.append(iter(study.someone(datetime.now(UTC))))
        session = chance.choice(running)
        event = next(session, None)
        if event is None:
            running.remove(session)
            continue
        # It happens now: the study's own times are of one session after the other.
        at = datetime.now(UTC).isoformat()
        write.ask("POST", "/v1/events", {"events": [{**event, "id": str(uuid.uuid4()), "timestamp": at}]})
        time.sleep(chance.uniform(*PAUSE_SECONDS))
