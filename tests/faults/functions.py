"""The functions of template.yaml. Their timeouts are long, because a busy machine starts a process slowly."""

from collections.abc import Mapping
from dataclasses import replace

from local.gateway.application import Gateway
from local.gateway.logs import FunctionLogs
from local.gateway.server import LocalApi, listen
from local.paths import TEMPLATE
from local.sam.template import Template, load_template

# With a timeout that a cold start can exceed, every invocation is killed and starts cold again.
TIMEOUT_SECONDS = 45.0
ENVIRONMENTS_PER_FUNCTION = 3


def load_functions() -> Template:
    """The template, with the long timeouts."""
    template = load_template(TEMPLATE, parameters={"DatabaseMode": "external"})
    functions = {name: replace(each, timeout_seconds=TIMEOUT_SECONDS) for name, each in template.functions.items()}
    return replace(template, functions=functions)


def serve_api(variables: Mapping[str, str], log: FunctionLogs) -> LocalApi:
    """The API on a free port, as a context manager. `variables` are the environment variables of functions."""
    gateway = Gateway(
        load_functions(),
        environment=variables,
        logs=log,
        environments_per_function=ENVIRONMENTS_PER_FUNCTION,
        wait_seconds=TIMEOUT_SECONDS,
        prestart=False,
    )
    return LocalApi(gateway, listen("127.0.0.1", 0))
