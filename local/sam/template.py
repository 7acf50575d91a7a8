"""Reads template.yaml: the functions and their settings, the routes, CORS and throttling."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from local.sam.intrinsics import PSEUDO_PARAMETERS, Resolver, TemplateError

__all__ = [
    "PSEUDO_PARAMETERS",
    "Cors",
    "Function",
    "Limit",
    "Route",
    "Template",
    "TemplateError",
    "load_template",
    "parse_template",
]

DEFAULT_TIMEOUT_SECONDS = 3
DEFAULT_MEMORY_MB = 128
_TARGET = re.compile(r"/functions/(\w+)(?:\.Arn)?/invocations$")


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the API and its function."""

    method: str
    path: str
    function: str
    alias: str | None = None
    """The alias of a published version. None means the latest code."""

    @property
    def key(self) -> str:
        """The route key of API Gateway."""
        return self.path if self.path == "$default" else f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Cors:
    """The CORS configuration of the API."""

    origins: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age: int | None = None
    credentials: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """The throttling of a route."""

    per_second: float
    burst: int
    """How many requests may arrive at once."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function, as Lambda would run it."""

    name: str
    source: Path
    handler: str
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    memory_mb: int = DEFAULT_MEMORY_MB
    environment: Mapping[str, str] = field(default_factory=dict)
    python_path: tuple[Path, ...] = ()
    """The source folders of its Python layers, which AWS puts into /opt/python."""


@dataclass(frozen=True, slots=True)
class Template:
    """The parts of template.yaml that the local server serves."""

    functions: Mapping[str, Function]
    routes: tuple[Route, ...]
    cors: Cors | None
    limit: Limit | None = None
    """The limit of each route that `limits` does not name."""
    limits: Mapping[str, Limit] = field(default_factory=dict)


# The loader in C is several times as fast. A PyYAML that was built without libyaml lacks it.
_FastLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_FastLoader):  # type: ignore[misc, valid-type]  # mypy needs a literal base class
    """A YAML loader that knows the short forms of CloudFormation."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def parse_template(path: Path) -> dict[str, Any]:
    """Parse a template. Intrinsic functions get their long form."""
    template: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader=_Loader)  # noqa: S506 - derives from SafeLoader
    return template


def load_template(path: Path, *, parameters: Mapping[str, str] | None = None) -> Template:
    """Read a template. `parameters` override the defaults of its parameters.

    Raises:
        TemplateError: the template uses an intrinsic function that the local server does not support.
    """
    document = parse_template(path)
    resources: dict[str, Any] = document["Resources"]
    declared: dict[str, Any] = document.get("Parameters", {})
    if unknown := set(parameters or {}) - set(declared):
        raise TemplateError(f"{path.name} has no parameter {', '.join(sorted(unknown))}.")
    # A deployment must name parameters without a default. Here the environment of the functions can replace them.
    values = {name: str(spec.get("Default", "")) for name, spec in declared.items()} | dict(parameters or {})
    resolve = Resolver(
        values,
        lists={name for name, spec in declared.items() if "List" in spec["Type"]},
        conditions=document.get("Conditions", {}),
        mappings=document.get("Mappings", {}),
    )
    resources = {name: resource for name, resource in resources.items() if resolve.is_there(resource)}
    shared = document.get("Globals", {}).get("Function", {})
    targets = _targets(resources, resolve)
    functions: dict[str, Function] = {}
    routes: list[Route] = []
    cors: Cors | None = None
    limits: dict[str, Limit] = {}
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            merged = resolve(_merge(shared, properties))
            functions[name] = _function(name, merged, resources, path.parent)
        elif resource["Type"] == "AWS::Serverless::HttpApi":
            cors = _cors(resolve(properties.get("CorsConfiguration")))
            settings = {"": properties.get("DefaultRouteSettings", {}), **properties.get("RouteSettings", {})}
            limits = {
                route: Limit(float(given["ThrottlingRateLimit"]), int(given["ThrottlingBurstLimit"]))
                for route, given in resolve(settings).items()
                if "ThrottlingRateLimit" in given
            }
            routes += _routes(resolve(properties["DefinitionBody"]["paths"]), targets)
    return Template(functions, tuple(routes), cors, limits.pop("", None), limits)


def _merge(shared: Any, own: Any) -> Any:
    """Apply the rule of SAM for Globals: merge maps, concatenate lists, replace the rest."""
    if isinstance(shared, dict) and isinstance(own, dict) and "Ref" not in own:
        return {key: _merge(shared.get(key), own[key]) if key in own else shared[key] for key in {**shared, **own}}
    if isinstance(shared, list) and isinstance(own, list):
        return shared + own
    return shared if own is None else own


def _function(name: str, properties: Mapping[str, Any], resources: Mapping[str, Any], root: Path) -> Function:
    layers = [resources[layer] for layer in properties.get("Layers", ())]
    # A layer that SAM builds holds Python packages. Any other layer is a plain folder under /opt.
    built = [layer for layer in layers if "BuildMethod" in layer.get("Metadata", {})]
    plain = [str(root / layer["Properties"]["ContentUri"]) for layer in layers if layer not in built]
    variables = properties.get("Environment", {}).get("Variables", {})
    return Function(
        name=name,
        source=root / properties["CodeUri"],
        handler=properties["Handler"],
        timeout_seconds=float(properties.get("Timeout", DEFAULT_TIMEOUT_SECONDS)),
        memory_mb=int(properties.get("MemorySize", DEFAULT_MEMORY_MB)),
        environment={
            key: plain[0] if value == "/opt" and len(plain) == 1 else str(value) for key, value in variables.items()
        },
        python_path=tuple(root / layer["Properties"]["ContentUri"] for layer in built),
    )


def _targets(resources: Mapping[str, Any], resolve: Resolver) -> dict[str, tuple[str, str | None]]:
    """The targets of routes: by logical id, the function and its alias."""
    found: dict[str, tuple[str, str | None]] = {}
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Serverless::Function":
            found[name] = (name, None)
        elif resource["Type"] == "AWS::Lambda::Alias":
            found[name] = (resolve(resource["Properties"]["FunctionName"]), resource["Properties"]["Name"])
    return found


def _routes(paths: Mapping[str, Mapping[str, Any]], targets: Mapping[str, tuple[str, str | None]]) -> list[Route]:
    found = []
    for path, methods in paths.items():
        for method, operation in methods.items():
            uri = operation["x-amazon-apigateway-integration"]["uri"]
            named = _TARGET.search(uri)
            if named is None or named[1] not in targets:
                raise TemplateError(
                    f"{method.upper()} {path} leads to {uri}, which is not a function of this template."
                )
            function, alias = targets[named[1]]
            found.append(Route(method.upper(), path, function, alias))
    return found


def _cors(configuration: Mapping[str, Any] | None) -> Cors | None:
    if not configuration:
        return None

    def texts(key: str) -> tuple[str, ...]:
        values: Sequence[str] = configuration.get(key, ())
        return tuple(values)

    return Cors(
        origins=texts("AllowOrigins"),
        methods=texts("AllowMethods"),
        headers=texts("AllowHeaders"),
        expose=texts("ExposeHeaders"),
        max_age=configuration.get("MaxAge"),
        credentials=bool(configuration.get("AllowCredentials", False)),
    )
