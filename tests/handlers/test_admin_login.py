"""Logins with an identity provider: the gateway has verified the token, and a claim of it names projects."""

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from muster.api import cors
from muster.projects.projects import allow_logins
from tests.support.databases import Project, make_project
from tests.support.functions import Answer, Caller, a_batch, an_event

METRICS, REPLAY = "GET /v1/metrics", "POST /v1/diagnostics/rejections/replay"
ISSUER = "https://login.example"


@pytest.fixture(autouse=True)
def logins(environment: pytest.MonkeyPatch) -> Iterator[None]:
    """A deployment with AdminJwtIssuer."""
    environment.setenv("ADMIN_JWT_ISSUER", ISSUER)
    environment.setenv("ADMIN_JWT_CLAIM", "muster_projects")
    cors._known.clear()
    yield
    cors._known.clear()


@pytest.fixture
def owner(database_url: str, project: Project) -> Iterator[psycopg.Connection[Any]]:
    """The database, in which the project takes logins."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        allow_logins(connection, project.id)
        yield connection


def claims(*projects: Any, **others: Any) -> dict[str, Any]:
    listed = {"muster_projects": f"[{' '.join(str(each) for each in projects)}]"} if projects else {}
    return {"iss": ISSUER, "sub": "ada", "aud": "muster", "exp": "1900000000", **listed, **others}


def ask(call: Caller, token: dict[str, Any], route: str = METRICS, **headers: str) -> Answer:
    sent = {"authorization": "Bearer ey.what.ever", **headers}
    return call(route, kind=None, headers=sent, claims=token)


def refused(answer: Answer, sentence: str) -> bool:
    assert (answer.status, answer.code) == (403, "login_not_allowed"), answer.text
    return sentence in answer.json["error"]["message"]


def test_a_login_may_do_what_an_admin_key_may(
    post: Caller, on_metrics: Caller, on_diagnostics: Caller, project: Project, owner: psycopg.Connection[Any]
) -> None:
    post("POST /v1/events", a_batch(an_event(), an_event(eventType=7)))
    assert ask(on_metrics, claims(project.id)).json["totals"]["events"] == 1
    assert ask(on_diagnostics, claims(project.id), "GET /v1/diagnostics").status == 200
    assert ask(on_diagnostics, claims(project.id), REPLAY).json["stillRejected"] == 1
    used = owner.execute("SELECT last_used_at IS NOT NULL FROM muster.api_keys WHERE prefix = 'login'").fetchone()
    assert used == (True,)


def test_a_login_manages_consent_and_tokens_as_an_admin_key_does(
    post: Caller, on_consent: Caller, on_pilot: Caller, project: Project, owner: psycopg.Connection[Any]
) -> None:
    token = claims(project.id)
    post("POST /v1/events", a_batch(userId="ada"))
    issued = on_pilot("POST /v1/pilot-tokens", {"participantType": "tester"}, kind=None, claims=token)
    assert issued.status == 201
    assert ask(on_pilot, token, "GET /v1/pilot-tokens").json["tokens"][0]["id"] == issued.json["tokens"][0]["id"]
    decided = {"userId": "ada", "status": "granted", "version": "1"}
    assert on_consent("PUT /v1/consent", decided, kind=None, claims=token).status == 200
    assert on_consent("GET /v1/consent", kind=None, claims=token, query={"userId": "ada"}).json["status"] == "granted"
    asked: dict[str, Any] = {"kind": None, "claims": token, "path": "/v1/subjects/ada"}
    assert len(on_consent("GET /v1/subjects/{userId}", **asked).json["events"]) == 2
    assert on_consent("DELETE /v1/subjects/{userId}", **asked).json["events"] == 2
    assert ask(on_pilot, claims(uuid.uuid4()), "GET /v1/pilot-tokens").code == "login_not_allowed"


def test_the_role_of_ingest_cannot_look_up_the_key_of_logins(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        may = "SELECT has_function_privilege(%s, 'muster.login_key(uuid)', 'EXECUTE')"
        roles = ("muster_ingest", "muster_people", "muster_reader")
        found = [connection.execute(may, (role,)).fetchone() for role in roles]
    assert found == [(False,), (True,), (True,)]


@pytest.mark.parametrize("form", ["{0}", "[{0}]", '["{0}"]', "{0} {1}", "{1},{0}", "[{1} {0}]", "admins {0}"])
def test_the_claim_is_read_as_identity_providers_write_it(
    on_metrics: Caller, project: Project, owner: psycopg.Connection[Any], form: str
) -> None:
    token = claims(muster_projects=form.format(project.id, uuid.uuid4()))
    assert ask(on_metrics, token, **{"x-muster-project": str(project.id).upper()}).status == 200


def test_a_login_for_several_projects_names_one(
    post: Caller, on_metrics: Caller, project: Project, owner: psycopg.Connection[Any], database_url: str
) -> None:
    other = make_project(database_url, "other")
    allow_logins(owner, other.id)
    post("POST /v1/events", a_batch())
    both = claims(project.id, other.id)
    assert refused(ask(on_metrics, both), "Send the id of one in x-muster-project")
    answers = [ask(on_metrics, both, **{"x-muster-project": str(each.id)}) for each in (project, other)]
    found = [answer.json["totals"]["events"] for answer in answers]
    assert found == [2, 0]


def test_a_project_that_the_token_is_not_for_stays_closed(
    on_metrics: Caller, project: Project, owner: psycopg.Connection[Any], database_url: str
) -> None:
    other = make_project(database_url, "other")
    allow_logins(owner, other.id)
    for named in (str(project.id), "tests", "", f"{other.id} {project.id}", f"{other.id}\n"):
        answer = ask(on_metrics, claims(other.id), **{"x-muster-project": named})
        assert refused(answer, "is not one of the token's projects")
        assert str(project.id) not in answer.text


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        (claims(), "has no project id"),
        (claims(muster_projects="tests"), "has no project id"),
        (claims(groups="3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"), "has no project id"),
        (claims(uuid.uuid4()), "This project does not accept logins"),
        (claims(uuid.uuid4(), iss="https://evil.example"), "issuer is not AdminJwtIssuer"),
        ({}, "issuer is not AdminJwtIssuer"),
    ],
)
def test_a_token_that_opens_nothing_is_a_403_that_says_why(
    on_metrics: Caller, owner: psycopg.Connection[Any], token: dict[str, Any], sentence: str
) -> None:
    assert refused(ask(on_metrics, token), sentence)


def test_logins_work_from_when_they_are_allowed_until_revoked(
    on_metrics: Caller, project: Project, owner: psycopg.Connection[Any], database_url: str
) -> None:
    other = make_project(database_url, "other")
    assert refused(ask(on_metrics, claims(other.id)), "This project does not accept logins")
    assert ask(on_metrics, claims(project.id)).status == 200
    owner.execute("UPDATE muster.api_keys SET revoked_at = now() WHERE prefix = 'login'")
    assert refused(ask(on_metrics, claims(project.id)), "This project does not accept logins")


def test_a_deployment_without_an_issuer_takes_no_login(
    on_metrics: Caller, project: Project, owner: psycopg.Connection[Any]
) -> None:
    on_metrics.environment.setenv("ADMIN_JWT_ISSUER", "")
    assert refused(ask(on_metrics, claims(project.id, iss="")), "issuer is not AdminJwtIssuer")


def test_a_token_that_no_gateway_has_verified_is_an_unknown_key(
    on_metrics: Caller, project: Project, owner: psycopg.Connection[Any]
) -> None:
    headers = {"authorization": "Bearer ey.what.ever", "x-muster-project": str(project.id)}
    assert on_metrics(METRICS, kind=None, headers=headers).code == "invalid_key"
    # The entry for logins in the list of keys cannot be sent as a key either.
    assert on_metrics(METRICS, kind=None, headers={"authorization": "Bearer login"}).code == "invalid_key"


def test_a_key_next_to_the_token_changes_nothing(
    on_metrics: Caller, project: Project, owner: psycopg.Connection[Any], database_url: str
) -> None:
    other = make_project(database_url, "other")
    answer = on_metrics(METRICS, kind=None, query={"key": other.keys["admin"]}, claims=claims(other.id))
    assert refused(answer, "This project does not accept logins")


def test_pages_of_other_origins_are_refused_with_logins_too(
    on_metrics: Caller, project: Project, owner: psycopg.Connection[Any]
) -> None:
    owner.execute("UPDATE muster.projects SET allowed_origins = '{https://app.example.com}'")
    assert ask(on_metrics, claims(project.id), origin="https://app.example.com").status == 200
    assert ask(on_metrics, claims(project.id), origin="https://evil.example").code == "origin_not_allowed"
