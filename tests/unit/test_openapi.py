"""The OpenAPI description matches what is deployed."""

import json
from typing import Any

import pytest
from openapi_spec_validator import validate

from local import openapi
from local.paths import PROJECT
from local.sam.template import load_template

TEMPLATE = load_template(PROJECT / "template.yaml")


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    """The description that function web serves."""
    found: dict[str, Any] = json.loads(openapi.FILE.read_text("utf-8"))
    return found


def test_the_description_matches_the_models() -> None:
    assert openapi.FILE.read_text("utf-8") == openapi.text(), "run make openapi"


def test_the_description_is_valid_openapi(description: dict[str, Any]) -> None:
    validate(description)


def test_the_description_has_exactly_the_deployed_routes(description: dict[str, Any]) -> None:
    described = {
        f"{method.upper()} {path}"
        for path, item in description["paths"].items()
        for method in item
        if method != "parameters"
    }
    # Preflight requests of browsers are no operation of the API.
    assert described == {route.key for route in TEMPLATE.routes if route.method != "OPTIONS"}


def test_each_route_names_its_keys_and_errors(description: dict[str, Any]) -> None:
    for path, item in description["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            assert operation["summary"], path
            if operation["security"]:
                assert {"401", "403"} <= set(operation["responses"]), f"{method} {path}"
                assert "key of kind" in operation["description"], f"{method} {path}"
