"""The template, the folders, the settings and the wire contract name the same things."""

import inspect
import re
from pathlib import Path

import pytest

from local.routes import route_tables
from local.sam.template import load_template, parse_template
from muster.platform import settings

PROJECT = Path(__file__).resolve().parents[2]
CONTRACT = PROJECT.parent / "shared" / "api.md"
TEMPLATE = load_template(PROJECT / "template.yaml")
# Routes of the contract that do not exist yet. Remove each from this list when it is built.
NOT_BUILT_YET = {
    "POST /v1/batch",
    "POST /v1/track",
    "POST /v1/page",
    "POST /v1/screen",
    "POST /v1/identify",
    "POST /v1/group",
    "POST /v1/alias",
}


def routes_of_the_contract() -> set[str]:
    text = CONTRACT.read_text("utf-8")
    found = set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`?\s]*)", text))
    # `POST /v1/batch`, `/v1/track`, …: one method for a list of paths.
    segment = re.search(r"`POST /v1/batch`((?:, `/v1/\w+`)+)", text)
    if segment is not None:
        found |= {f"POST {path}" for path in re.findall(r"`(/v1/\w+)`", segment[1])}
    return found


@pytest.mark.skipif(not CONTRACT.exists(), reason="the wire contract, shared/api.md, is not beside this repository")
def test_every_route_of_the_contract_is_deployed_or_known_to_be_missing() -> None:
    # Preflight requests of browsers are not in the contract.
    deployed = {route.key for route in TEMPLATE.routes if route.method != "OPTIONS"}
    assert deployed | NOT_BUILT_YET == routes_of_the_contract()
    assert deployed & NOT_BUILT_YET == set()


def test_every_function_has_its_folder_and_every_folder_its_function() -> None:
    folders = {path.parent.name for path in (PROJECT / "functions").glob("*/app.py")}
    assert {name.removesuffix("Function").lower() for name in TEMPLATE.functions} == folders


def test_the_template_sets_exactly_the_variables_that_are_read() -> None:
    read = set(re.findall(r'values(?:\.get\(|\[)"([A-Z_]+)"', inspect.getsource(settings)))
    given = {name for function in TEMPLATE.functions.values() for name in function.environment}
    of_lambda = {name for name in read if name.startswith("AWS_")}
    # Their defaults hold for every deployment of this template.
    of_other_hosts = {"DATABASE_PORT", "DATABASE_NAME"}
    of_botocore = {"AWS_USE_DUALSTACK_ENDPOINT"}
    assert read - of_lambda - of_other_hosts == given - of_botocore


def test_every_template_parameter_is_used_and_described() -> None:
    document = parse_template(PROJECT / "template.yaml")
    text = (PROJECT / "template.yaml").read_text("utf-8")
    groups = document["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    asked = [name for group in groups for name in group["Parameters"]]
    assert sorted(asked) == sorted(document["Parameters"])
    for name, parameter in document["Parameters"].items():
        assert parameter["Description"], name
        assert "Default" in parameter, f"{name} has no default that works"
        body = text.partition("\nRules:")[2]
        assert re.search(rf"(!Ref {name}\b|\${{{name}}})", body), f"{name} is not used"


def test_the_template_leads_to_the_routes_of_each_functions_table() -> None:
    deployed: dict[str, set[str]] = {name: set() for name in TEMPLATE.functions}
    for route in TEMPLATE.routes:
        deployed[route.function].add(route.key.replace("+}", "}"))
    declared = {name: {route.key for route in table} for name, table in route_tables().items()}
    assert {name: routes for name, routes in deployed.items() if routes} == declared


def test_a_function_without_routes_has_no_table() -> None:
    routed = {TEMPLATE.functions[name].source.name for name in route_tables()}
    for path in (PROJECT / "functions").glob("*/app.py"):
        assert ("ROUTES = Routes(" in path.read_text("utf-8")) is (path.parent.name in routed), path


def test_the_login_api_has_the_routes_that_take_logins() -> None:
    resources = parse_template(PROJECT / "template.yaml")["Resources"]
    keys, logins = (resources[name]["Properties"]["DefinitionBody"]["paths"] for name in ("Api", "LoginApi"))
    for path, methods in logins.items():
        for method, operation in methods.items():
            assert operation["x-amazon-apigateway-integration"] == keys[path][method]["x-amazon-apigateway-integration"]
            # Without it the gateway would admit any request, and functions trust what it admits as a login.
            assert method == "options" or operation["security"] == [{"login": []}], f"{method} {path}"
    # Browsers send preflight requests to both APIs.
    routes = [route for table in route_tables().values() for route in table]
    declared = {route.key for route in routes if route.takes_logins or route.method == "OPTIONS"}
    listed = {f"{method.upper()} {path}" for path, methods in logins.items() for method in methods}
    assert {route.replace("+}", "}") for route in listed} == declared


def test_concurrent_functions_leave_connections_for_people() -> None:
    capacities = parse_template(PROJECT / "template.yaml")["Mappings"]["Capacity"]
    for name, capacity in capacities.items():
        functions = sum(capacity[each] for each in ("Ingest", "Session", "Pilot", "Metrics", "Diagnostics", "Consume"))
        # Functions migrate and maintain take one more each.
        assert functions + 2 <= capacity["MaxConnections"] - 15, name
        assert capacity["MostConnections"] == capacity["MaxConnections"] * 0.8, name


def test_every_skipped_policy_check_has_its_reason() -> None:
    skipped = [line for line in (PROJECT / ".checkov.yaml").read_text("utf-8").splitlines() if "CKV" in line]
    assert skipped
    for line in skipped:
        assert re.fullmatch(r"  - CKV_\w+ # \w.{20,}", line), line
