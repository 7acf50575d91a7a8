"""Evaluates the intrinsic functions and conditions of CloudFormation that template.yaml uses."""

import re
from collections.abc import Callable, Mapping
from typing import Any

PSEUDO_PARAMETERS = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "muster",
    "AWS::URLSuffix": "amazonaws.com",
}
# The value of a property that a condition leaves out.
_NO_VALUE = object()


class TemplateError(Exception):
    """The template uses something that the local server does not support."""


class Resolver:
    """Replaces intrinsic functions with the values that a deployment would use."""

    def __init__(
        self,
        values: Mapping[str, str],
        *,
        lists: set[str],
        conditions: Mapping[str, Any] | None = None,
        mappings: Mapping[str, Any] | None = None,
    ) -> None:
        self._values = {**PSEUDO_PARAMETERS, **values}
        self._lists = lists
        self._conditions = conditions or {}
        self._mappings = mappings or {}
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Fn::GetAtt": lambda argument: argument if isinstance(argument, str) else ".".join(argument),
            "Fn::Sub": self._sub,
            "Fn::Join": lambda argument: argument[0].join(str(part) for part in self(argument[1])),
            "Fn::If": lambda argument: self(argument[1 if self.holds(argument[0]) else 2]),
            "Fn::FindInMap": self._find_in_map,
            "Fn::Equals": lambda argument: self(argument[0]) == self(argument[1]),
            "Fn::Not": lambda argument: not self(argument[0]),
            "Fn::And": lambda argument: all(self(part) for part in argument),
            "Fn::Or": lambda argument: any(self(part) for part in argument),
        }

    def __call__(self, node: Any) -> Any:
        """Resolve a node of the template. Remove what conditions leave out."""
        if isinstance(node, list):
            return [value for value in (self(item) for item in node) if value is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            name, argument = next(iter(node.items()))
            if name == "Ref":
                return self._ref(argument)
            if name == "Condition" and argument in self._conditions:
                return self.holds(argument)
            if name.startswith("Fn::"):
                return self._call(name, argument)
        resolved = {key: self(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not _NO_VALUE}

    def holds(self, condition: str) -> bool:
        """Whether a named condition is true."""
        return bool(self(self._conditions[condition]))

    def is_there(self, resource: Mapping[str, Any]) -> bool:
        """Whether a deployment would create this resource."""
        return "Condition" not in resource or self.holds(resource["Condition"])

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        # Resources have no physical id here, so use the logical one.
        value = self._values.get(name, name)
        return [item.strip() for item in value.split(",")] if name in self._lists else value

    def _call(self, name: str, argument: Any) -> Any:
        if name not in self._functions:
            raise TemplateError(f"The local server does not support {name}. Add it to local/sam/intrinsics.py.")
        return self._functions[name](argument)

    def _find_in_map(self, argument: Any) -> Any:
        name, first, second = self(argument)
        return self._mappings[name][first][second]

    def _sub(self, argument: Any) -> str:
        text, extra = argument if isinstance(argument, list) else (argument, {})
        known = {key: str(self(value)) for key, value in extra.items()}
        return re.sub(r"\$\{([^}]+)\}", lambda match: self._substitute(match[1], known), text)

    def _substitute(self, name: str, known: Mapping[str, str]) -> str:
        if name.startswith("!"):
            return f"${{{name[1:]}}}"
        return known[name] if name in known else str(self._ref(name))
