"""`make deploy-local`: deploys the stack to MiniStack on this machine with `sam deploy`, and serves until Ctrl-C."""

import argparse
import json
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3

from local.postgres import PostgresError, start_postgres
from local.sam.ministack import MiniStack, MiniStackError
from local.sam.sam_cli import HOST_ARCHITECTURE, build_for_this_machine, result_in, run_sam
from local.sam.template import load_template, parse_template

STACK = "muster"
# MiniStack 1.5 does not support these.
UNKNOWN_TYPES = frozenset(
    {
        "AWS::Logs::QueryDefinition",
        "AWS::RDS::DBProxy",
        "AWS::RDS::DBProxyTargetGroup",
        "AWS::Athena::NamedQuery",
        "AWS::EC2::EgressOnlyInternetGateway",
        "AWS::EC2::VPCCidrBlock",
        "AWS::EC2::SubnetCidrBlock",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::CloudWatch::CompositeAlarm",
    }
)


class DeploymentError(Exception):
    """A command of the SAM CLI failed. The message holds the end of its output."""


class Deployment:
    """The stack, deployed to MiniStack."""

    def __init__(self, aws: MiniStack, build: Path) -> None:
        self._aws = aws
        self._build = build
        self._template = build / "ministack.json"
        self.changes = _adapt(build / "template.yaml", self._template)
        self.parameters: dict[str, str] = {}

    @property
    def url(self) -> str:
        """The base URL of the API."""
        api = self.client("apigatewayv2").get_apis()["Items"][0]["ApiId"]
        return f"{self._aws.url}/_aws/execute-api/{api}/{quote('$default')}"

    def deploy(self, parameters: Mapping[str, str]) -> None:
        """Run `sam deploy` with these parameters and those of earlier calls. Then create the routes.

        Raises:
            DeploymentError: the deployment failed; the message holds CloudFormation's reason.
        """
        self.parameters |= parameters
        overrides = [f"{name}={value}" if value else f'{name}=""' for name, value in self.parameters.items()]
        self._run(
            "deploy", "--template-file", str(self._template), "--stack-name", STACK, "--resolve-s3",
            "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar",
            "--no-fail-on-empty-changeset", "--parameter-overrides", *overrides,
        )  # fmt: skip
        self._add_routes()

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        """Run `sam remote invoke`. Return the result of the function."""
        printed = self._run(
            "remote", "invoke", function, "--stack-name", STACK, "--event", json.dumps(event), "--output", "text"
        )
        return result_in(printed)

    def logs(self, function: str) -> str:
        """Run `sam logs`. Return the output of the function."""
        return self._run("logs", "--name", function, "--stack-name", STACK)

    def delete(self) -> None:
        """Run `sam delete`."""
        self._run("delete", "--stack-name", STACK, "--no-prompts", "--region", "us-east-1")

    def client(self, service: str) -> Any:
        """A boto3 client for one service of MiniStack."""
        make: Any = boto3.client  # its type stubs need a literal name
        return make(
            service,
            endpoint_url=self._aws.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - MiniStack accepts any
        )

    def _add_routes(self) -> None:
        """Create the routes one by one, because MiniStack does not read the body of an HTTP API."""
        gateway = self.client("apigatewayv2")
        api = gateway.get_apis()["Items"][0]["ApiId"]
        there = {route["RouteKey"]: route["RouteId"] for route in gateway.get_routes(ApiId=api)["Items"]}
        resources = self.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
        physical = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
        for route in load_template(self._build / "template.yaml", parameters=self.parameters).routes:
            function = f"arn:aws:lambda:us-east-1:000000000000:function:{physical[route.function]}"
            if route.alias:
                function += f":{route.alias}"
            integration = gateway.create_integration(
                ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
            )["IntegrationId"]
            target = f"integrations/{integration}"
            if route.key in there:
                gateway.update_route(ApiId=api, RouteId=there[route.key], Target=target)
            else:
                gateway.create_route(ApiId=api, RouteKey=route.key, Target=target)

    def _run(self, *arguments: str) -> str:
        # This folder has no samconfig.toml. The defaults of the project's one ask questions.
        finished = run_sam(*arguments, environment=self._aws.environment, folder=self._build)
        if finished.returncode != 0:
            raise DeploymentError(f"sam {arguments[0]} failed.\n{finished.stdout[-6000:]}")
        return finished.stdout


def _adapt(source: Path, target: Path) -> Sequence[str]:
    """Write the template without what MiniStack does not support. Return a sentence for each change."""
    template = parse_template(source)
    changes = []
    for name, resource in list(template["Resources"].items()):
        if resource["Type"] in UNKNOWN_TYPES:
            del template["Resources"][name]
            changes.append(f"{name} is left out: MiniStack does not know {resource['Type']}.")
    layer = source.parent / template["Resources"]["MigrationsLayer"]["Properties"]["ContentUri"]
    template["Resources"]["MigrateFunction"]["Properties"]["Environment"]["Variables"]["MIGRATIONS_DIR"] = str(
        layer.resolve()
    )
    changes.append("MigrateFunction reads the migrations from this machine: MiniStack does not unpack layers to /opt.")
    # The SAM CLI parses the template several times in a deployment, JSON much faster than YAML.
    target.write_text(json.dumps(template), "utf-8")
    return changes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.sam.deploy_local", description=__doc__)
    parser.add_argument(
        "--ingest-mode", choices=["direct", "buffered"], default="direct", help="the parameter IngestMode"
    )
    parser.add_argument("--json", action="store_true", help="print the URL and the keys as one JSON object")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="muster-deploy-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            _say("Starting Postgres and MiniStack.")
            with start_postgres(folder / "postgres", durable=False) as postgres, MiniStack() as aws:
                _say("Building: sam build.")
                stack = Deployment(aws, build_for_this_machine(folder / "sam"))
                for change in stack.changes:
                    _say(f"  {change}")
                _say("Deploying: sam deploy.")
                stack.deploy(
                    {
                        "Architecture": HOST_ARCHITECTURE,
                        "DatabaseMode": "external",
                        "DatabaseUrl": postgres.url,
                        "IngestMode": options.ingest_mode,
                        "Stage": "local",
                    }
                )
                made = stack.invoke("MigrateFunction", {"action": "create_project", "name": "local"})
                if options.json:
                    print(json.dumps({"url": stack.url, "databaseUrl": postgres.url, "keys": made["keys"]}), flush=True)
                else:
                    keys = "\n".join(f"  {kind} key  {key}" for kind, key in made["keys"].items())
                    print(f"\nThe stack serves on {stack.url}\n{keys}\n\nPress Ctrl-C to stop.", flush=True)
                _wait_for_a_signal()
    except (DeploymentError, MiniStackError, PostgresError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _wait_for_a_signal() -> None:
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    asked.wait()


if __name__ == "__main__":
    sys.exit(main())
