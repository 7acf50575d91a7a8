"""`make demo`: make run, with some weeks of a made-up pilot study in it, and more of it as one watches."""

import argparse
import json
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from local.run import ROOT
from local.study import Study, bot_visit, faulty

STATE = ROOT / ".muster" / "demo"
START_SECONDS = 180.0
STOP_SECONDS = 60.0
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description="Serve Muster with a study in it.")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--state", type=Path, default=STATE, help="the folder of the data and of local.json")
    parser.add_argument("--fresh", action="store_true", help="make the study anew, up to today")
    options = parser.parse_args(arguments)
    # make run takes the same signal, from the terminal or from us, and ends in its own time.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with running(options.port, options.state, fresh=options.fresh) as (process, state):
            fill(state["url"], state["keys"])
            _announce(state, options.state / "logs")
            with Api(state["url"], state["keys"]["write"]) as write:
                trickle(process, write)
    except KeyboardInterrupt:
        return 0
    except (DemoFailed, httpx.HTTPError) as error:
        print(f"The demo stopped: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


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


@contextmanager
def running(port: int, state: Path, *, fresh: bool) -> Iterator[tuple["subprocess.Popen[bytes]", dict[str, Any]]]:
    """The process of make run, and what it says of itself in local.json."""
    state.mkdir(parents=True, exist_ok=True)
    written = state / "local.json"
    written.unlink(missing_ok=True)
    # What happens every second would soon hide where the dashboard is.
    logs = ["--logs", str(state / "logs")]
    command = [sys.executable, "-m", "local.run", "--port", str(port), "--state", str(state), *logs]
    process = subprocess.Popen([*command, *(["--fresh"] if fresh else [])], cwd=ROOT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not written.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed("make run did not start; what it printed says why.")
            time.sleep(0.1)
        yield process, json.loads(written.read_text("utf-8"))
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _announce(state: dict[str, Any], logs: Path) -> None:
    print(
        f"\nThe dashboard: {state['url']}\n"
        f"  read key   {state['keys']['read']}\n"
        f"  admin key  {state['keys']['admin']}\n\n"
        f"More events come in while it runs; what the functions log is in {logs}. Ctrl-C stops it.\n",
        flush=True,
    )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
