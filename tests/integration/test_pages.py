"""Web pages and `make run`: the CORS responses of a project that allows one origin."""

import httpx

from local.gateway.server import local_api
from tests.integration.test_projects import projects
from tests.support.databases import Cluster, make_project
from tests.support.functions import a_batch

OURS, OTHER = "https://app.example.com", "https://evil.example"
ALLOW = "access-control-allow-origin"


def test_a_page_sends_after_a_preflight_and_another_origin_stores_nothing(postgres: Cluster) -> None:
    with postgres.database() as url:
        keys = make_project(url).keys
        assert projects(url, "project", "tests", f"allowedOrigins={OURS}").returncode == 0
        with (
            local_api(environment={"DATABASE_URL": url}, parameters={"DatabaseMode": "external"}) as api,
            httpx.Client(base_url=api.url, trust_env=False, timeout=60) as client,
        ):
            asking = {"origin": OURS, "access-control-request-method": "POST"}
            asked = client.options("/v1/events", headers=asking)
            assert (asked.status_code, asked.headers[ALLOW]) == (204, OURS)
            answers = {}
            for origin in (OURS, OTHER):
                headers = {"origin": origin, "authorization": f"Bearer {keys['write']}"}
                answers[origin] = client.post("/v1/events", json=a_batch(), headers=headers)
            assert (answers[OURS].status_code, answers[OURS].headers[ALLOW]) == (200, OURS)
            assert answers[OTHER].status_code == 403
            assert answers[OTHER].json()["error"]["code"] == "origin_not_allowed"
            assert ALLOW not in answers[OTHER].headers
            read = {"authorization": f"Bearer {keys['read']}"}
            totals = client.get("/v1/metrics", params={"timeframe": "all"}, headers=read).json()["totals"]
            assert totals["events"] == 2
