"""Requests become events, and results become responses, as in API Gateway."""

import base64
import gzip
from typing import Any

import pytest

from local.gateway.http_api import (
    MalformedResponseError,
    Request,
    Response,
    is_preflight,
    preflight_response,
    to_event,
    to_response,
    with_cors,
)
from local.sam.template import Cors, Route

ROUTE = Route("POST", "/v1/things", "ThingFunction")
CORS = Cors(origins=("https://a.example",), methods=("GET", "PUT"), headers=("authorization",), max_age=60)


def event(
    *headers: tuple[str, str], path: str = "/v1/things", query: str = "", body: bytes = b"", client: str = "10.1.2.3"
) -> dict[str, Any]:
    request = Request("POST", path, query, headers, body, client=client)
    return to_event(request, ROUTE, {}, request_id="id")


def test_what_a_request_does_not_have_is_absent_from_its_event() -> None:
    bare = event()
    assert bare["version"] == "2.0"
    assert bare["routeKey"] == "POST /v1/things"
    assert bare["rawQueryString"] == ""
    assert bare["isBase64Encoded"] is False
    absent = {"body", "cookies", "pathParameters", "queryStringParameters", "stageVariables"}
    assert absent.isdisjoint(bare)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/xml",
    ],
)
def test_text_stays_text(content_type: str) -> None:
    made = event(("content-type", content_type), body='{"ü":1}'.encode())
    assert (made["body"], made["isBase64Encoded"]) == ('{"ü":1}', False)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("content-type", "application/octet-stream")],
        [("content-type", "application/x-www-form-urlencoded")],
        [("content-type", "application/vnd.api+json")],
        [("content-type", "application/json"), ("content-encoding", "gzip")],
    ],
)
def test_everything_else_is_base64(headers: list[tuple[str, str]]) -> None:
    body = gzip.compress(b"hello")
    made = event(*headers, body=body)
    assert made["isBase64Encoded"] is True
    assert base64.b64decode(made["body"]) == body


def test_a_repeated_header_is_joined_by_commas_under_its_lower_case_name() -> None:
    assert event(("X-Tag", "a"), ("x-tag", "b"))["headers"]["x-tag"] == "a,b"


def test_cookies_leave_the_headers_for_their_own_list() -> None:
    made = event(("Cookie", "a=1; b=2"), ("cookie", "c=3"))
    assert made["cookies"] == ["a=1", "b=2", "c=3"]
    assert "cookie" not in made["headers"]


def test_the_query_is_raw_and_also_decoded_with_repeated_names_joined() -> None:
    made = event(query="a=1&a=2&b=%20x&empty=")
    assert made["rawQueryString"] == "a=1&a=2&b=%20x&empty="
    assert made["queryStringParameters"] == {"a": "1,2", "b": " x", "empty": ""}


def test_the_path_is_decoded_as_http_apis_do() -> None:
    made = event(path="/v1/a%20b")
    assert made["rawPath"] == "/v1/a b"
    assert made["requestContext"]["http"]["path"] == "/v1/a b"


def test_the_request_context_names_the_caller() -> None:
    made = event(("Host", "api.example:3000"), ("User-Agent", "curl/8"))
    context = made["requestContext"]
    assert context["http"]["sourceIp"] == "10.1.2.3"
    assert context["http"]["userAgent"] == "curl/8"
    assert (context["domainName"], context["domainPrefix"]) == ("api.example", "api")
    assert made["headers"]["x-forwarded-for"] == "10.1.2.3"
    assert context["stage"] == "$default"


def test_a_proxys_forwarded_address_is_kept_before_the_callers() -> None:
    assert event(("X-Forwarded-For", "1.1.1.1"))["headers"]["x-forwarded-for"] == "1.1.1.1, 10.1.2.3"


def test_a_result_without_a_status_is_the_json_body_of_a_200() -> None:
    response = to_response({"hello": "you"})
    assert (response.status, response.body) == (200, b'{"hello": "you"}')
    assert ("content-type", "application/json") in response.headers


def test_a_base64_result_is_decoded_and_each_cookie_gets_its_header() -> None:
    result = {"statusCode": 201, "isBase64Encoded": True, "body": "aGk=", "cookies": ["a=1", "b=2"]}
    response = to_response(result)
    assert (response.status, response.body) == (201, b"hi")
    assert [value for name, value in response.headers if name == "set-cookie"] == ["a=1", "b=2"]


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "many"},
        {"statusCode": 2000},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "body": "no base64!", "isBase64Encoded": True},
        {"statusCode": 200, "headers": {"x": "a\r\nset-cookie: stolen=1"}},
        {"statusCode": 200, "headers": ["x"]},
    ],
)
def test_a_result_that_is_no_http_response_is_malformed(result: Any) -> None:
    with pytest.raises(MalformedResponseError):
        to_response(result)


def preflight(origin: str) -> Request:
    headers = [("Origin", origin), ("Access-Control-Request-Method", "PUT")]
    return Request("OPTIONS", "/v1/things", "", headers)


def test_a_preflight_of_an_allowed_origin_says_what_it_may_do() -> None:
    assert is_preflight(preflight("https://a.example"))
    response = preflight_response(preflight("https://a.example"), CORS)
    assert response.status == 204
    assert dict(response.headers) == {
        "access-control-allow-origin": "https://a.example",
        "access-control-allow-methods": "GET,PUT",
        "access-control-allow-headers": "authorization",
        "access-control-max-age": "60",
    }


def test_a_preflight_of_another_origin_gets_no_headers() -> None:
    assert preflight_response(preflight("https://b.example"), CORS) == Response(204, [])


def test_the_gateways_cors_headers_replace_the_functions() -> None:
    request = Request("GET", "/v1/things", "", [("origin", "https://x.example")])
    response = Response(200, [("access-control-allow-origin", "https://forged.example"), ("x-a", "1")])
    cors = Cors(origins=("*",), expose=("x-request-id",))
    assert with_cors(response, request, cors).headers == [
        ("x-a", "1"),
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", "x-request-id"),
    ]
