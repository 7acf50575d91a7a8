"""The local server understands template.yaml as SAM does."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from local.gateway.http_api import Throttle
from local.sam.template import Limit, Route, TemplateError, load_template
from muster.api.routing import Matcher

PROJECT = Path(__file__).resolve().parents[2]
TEXT = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Color: {Type: String, Default: blue}
  Origins: {Type: CommaDelimitedList, Default: "https://a.example, https://b.example"}
  Secret: {Type: String, NoEcho: true}
  Rate: {Type: Number, Default: 7}
Globals:
  Function:
    Handler: app.lambda_handler
    Timeout: 7
    Layers: [!Ref Packages]
    Environment: {Variables: {COLOR: !Ref Color, SHARED: "1", SECRET: !Ref Secret}}
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      CorsConfiguration: {AllowOrigins: !Ref Origins, MaxAge: 60}
      DefaultRouteSettings: {ThrottlingRateLimit: !Ref Rate, ThrottlingBurstLimit: 9}
      RouteSettings: {"POST /live": {ThrottlingRateLimit: 1, ThrottlingBurstLimit: 2}}
      DefinitionBody:
        paths:
          "/things/{id}":
            get: {x-amazon-apigateway-integration: &thing {uri: !Sub "f/functions/${ThingFunction.Arn}/invocations"}}
            put: {x-amazon-apigateway-integration: *thing}
          /live:
            post: {x-amazon-apigateway-integration: {uri: !Sub "f/functions/${Live}/invocations"}}
  Packages:
    Type: AWS::Serverless::LayerVersion
    Metadata: {BuildMethod: makefile}
    Properties: {ContentUri: layers/shared}
  Files:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: files}
  ThingFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/thing
      Timeout: 9
      Layers: [!Ref Files]
      Environment:
        Variables: {SHARED: "2", NAME: !Sub "${Color}-${AWS::Region}-${!literal}", FILES: /opt, ROLE: !GetAtt Role.Arn}
  Live:
    Type: AWS::Lambda::Alias
    Properties: {FunctionName: !Ref ThingFunction, FunctionVersion: !GetAtt Version.Version, Name: live}
"""


def write(folder: Path, text: str = TEXT) -> Path:
    path = folder / "template.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_function_is_its_own_properties_over_the_globals(tmp_path: Path) -> None:
    function = load_template(write(tmp_path)).functions["ThingFunction"]
    assert function.handler == "app.lambda_handler"
    assert function.timeout_seconds == 9
    assert function.source == tmp_path / "functions/thing"
    assert function.python_path == (tmp_path / "layers/shared",)
    assert function.environment == {
        "COLOR": "blue",
        "SHARED": "2",
        "SECRET": "",
        "NAME": "blue-us-east-1-${literal}",
        "FILES": str(tmp_path / "files"),
        "ROLE": "Role.Arn",
    }


def test_a_parameter_can_be_given(tmp_path: Path) -> None:
    template = load_template(write(tmp_path), parameters={"Color": "red", "Origins": "*"})
    assert template.functions["ThingFunction"].environment["COLOR"] == "red"
    assert template.cors is not None
    assert template.cors.origins == ("*",)


def test_an_unknown_parameter_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="no parameter Colour"):
        load_template(write(tmp_path), parameters={"Colour": "red"})


def test_an_unknown_intrinsic_function_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="Fn::Cidr"):
        load_template(write(tmp_path, TEXT.replace("Timeout: 9", "Timeout: !Cidr [a, b]")))


def test_routes_lead_to_a_function_or_to_its_alias(tmp_path: Path) -> None:
    assert load_template(write(tmp_path)).routes == (
        Route("GET", "/things/{id}", "ThingFunction"),
        Route("PUT", "/things/{id}", "ThingFunction"),
        Route("POST", "/live", "ThingFunction", "live"),
    )


def test_the_throttles_of_routes_are_read(tmp_path: Path) -> None:
    template = load_template(write(tmp_path))
    assert (template.limit, template.limits) == (Limit(7.0, 9), {"POST /live": Limit(1.0, 2)})


def test_a_throttle_admits_a_burst_and_then_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    # Not time.monotonic itself: the event loop of a server in this process would sleep for hours.
    monkeypatch.setattr("local.gateway.http_api.time", SimpleNamespace(monotonic=lambda: now))
    throttle = Throttle(Limit(2.0, 3), {"GET /slow": Limit(1.0, 1)})
    assert [throttle.admits("GET /a") for _ in range(5)] == [True, True, True, False, False]
    assert [throttle.admits("GET /slow") for _ in range(2)] == [True, False]
    now += 1.0
    assert [throttle.admits("GET /a") for _ in range(3)] == [True, True, False]
    assert throttle.admits("GET /b") is True
    assert Throttle(None).admits("GET /a") is True


def test_a_route_that_leads_to_no_function_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="POST /live leads to f/functions/Dead/invocations"):
        load_template(write(tmp_path, TEXT.replace("${Live}", "${Dead}")))


def test_the_most_specific_route_wins() -> None:
    routes = [
        Route("ANY", "$default", "last"),
        Route("GET", "/a/{rest+}", "greedy"),
        Route("GET", "/a/{id}", "variable"),
        Route("ANY", "/a/fixed", "fixed, any method"),
        Route("GET", "/a/fixed", "fixed"),
    ]
    table = Matcher(routes)

    def found(method: str, path: str) -> tuple[str, dict[str, str]]:
        match = table.find(method, path)
        assert match is not None
        return match[0].function, match[1]

    assert found("GET", "/a/fixed") == ("fixed", {})
    assert found("POST", "/a/fixed") == ("fixed, any method", {})
    assert found("GET", "/a/7") == ("variable", {"id": "7"})
    assert found("GET", "/a/7/8") == ("greedy", {"rest": "7/8"})
    assert found("GET", "/b") == ("last", {})


def test_a_path_without_a_route_is_not_found() -> None:
    table = Matcher([Route("GET", "/a", "f")])
    assert table.find("GET", "/a/") is None
    assert table.find("HEAD", "/a") is None


def test_every_route_of_the_template_leads_to_a_function_that_is_in_it() -> None:
    template = load_template(PROJECT / "template.yaml")
    assert template.routes
    assert {(route.function, route.alias) for route in template.routes} <= {(name, None) for name in template.functions}
    assert "MigrateFunction" not in {route.function for route in template.routes}


def test_under_snap_start_every_route_leads_to_a_published_version() -> None:
    parameters = {
        "SnapStart": "on",
        "DatabaseMode": "external",
        "DatabaseSecretArn": "arn:aws:secretsmanager:r:1:secret:s",
    }
    routes = load_template(PROJECT / "template.yaml", parameters=parameters).routes
    # The web function only serves files, so it has no connection to open in a snapshot.
    assert {route.alias for route in routes if route.function != "WebFunction"} == {"live"}
    assert {route.alias for route in routes if route.function == "WebFunction"} == {None}
    assert [route.function for route in routes] == [
        route.function for route in load_template(PROJECT / "template.yaml").routes
    ]


def test_each_function_has_the_least_role_it_needs() -> None:
    functions = load_template(PROJECT / "template.yaml").functions
    roles = {name: function.environment.get("DATABASE_ROLE") for name, function in functions.items()}
    assert roles == {
        "IngestFunction": "muster_ingest",
        "SessionFunction": "muster_ingest",
        "ConsentFunction": "muster_people",
        "PilotFunction": "muster_people",
        "MetricsFunction": "muster_reader",
        "DiagnosticsFunction": "muster_reader",
        "ConsumeFunction": "muster_ingest",
        "MaintainFunction": "muster_admin",
        "MigrateFunction": None,
        "WebFunction": None,
    }


@pytest.mark.parametrize("ingest_mode", ["direct", "buffered"])
@pytest.mark.parametrize("database_mode", ["rds", "external"])
def test_the_template_can_be_read_in_every_mode(ingest_mode: str, database_mode: str) -> None:
    parameters = {"IngestMode": ingest_mode, "DatabaseMode": database_mode, "DatabaseUrl": "postgresql://of-mine"}
    template = load_template(PROJECT / "template.yaml", parameters=parameters)
    ingest = template.functions["IngestFunction"].environment
    assert "ConsumeFunction" in template.functions  # a stack that changes its mode has batches in its queue
    assert ingest["INGEST_MODE"] == ingest_mode
    assert ingest["QUEUE_URL"] == ("Queue" if ingest_mode == "buffered" else "")
    assert bool(ingest["DATABASE_HOST"]) == (database_mode == "rds")
