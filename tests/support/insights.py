"""Parses the template's saved Logs Insights queries and runs them on log lines, as far as the tests need."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.sam.template import parse_template

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
COMMANDS = ("fields", "filter", "stats", "sort", "limit")
FUNCTIONS = {"count", "sum", "max", "min", "avg", "pct", "bin", "ispresent"}
WORDS = {"and", "or", "not", "in", "as", "by", "asc", "desc"}
_TOKEN = re.compile(r'\s*(?:("[^"]*")|(@?[A-Za-z_][\w.]*)|(\d+[a-z]*)|(>=|<=|!=|[=<>()\[\],*]))')
_COMPARISON = re.compile(r"^([@\w.]+)\s*(>=|<=|!=|=|<|>|in)\s*(.+)$")
_PRESENT = re.compile(r"^ispresent\(([@\w.]+)\)$")


class QueryError(ValueError):
    """This parser, or Logs Insights, does not understand the query."""


@dataclass(frozen=True)
class SavedQuery:
    """One AWS::Logs::QueryDefinition."""

    name: str
    text: str
    log_groups: tuple[str, ...]
    """The log groups that it searches, by their name in the template."""

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Each command and its arguments."""
        listed = [part.strip().partition(" ")[::2] for part in self.text.split("|")]
        if unknown := [name for name, _ in listed if name not in COMMANDS]:
            raise QueryError(f"{self.name}: there is no command {unknown[0]!r}")
        return [(name, rest.strip()) for name, rest in listed]

    @property
    def fields(self) -> set[str]:
        """The fields of log lines that it names."""
        named: set[str] = set()
        aliases: set[str] = set()
        for command, rest in self.commands:
            before = ""
            for text, following in _words(self.name, rest):
                if before == "as":
                    aliases.add(text)
                elif following == "(":
                    if text not in FUNCTIONS:
                        raise QueryError(f"{self.name}: there is no function {text!r}")
                elif text not in WORDS and not (command == "sort" and text in aliases):
                    named.add(text)
                before = text
        return named

    @property
    def texts(self) -> set[str]:
        """The texts that its filters compare with."""
        return {
            text for command, rest in self.commands if command == "filter" for text in re.findall('"([^"]*)"', rest)
        }

    def find(self, lines: Iterable[dict[str, Any]], **replaced: str) -> list[dict[str, Any]]:
        """The lines that pass its filters, with what is in capitals replaced: EVENT_ID="…" stands for EVENT-ID."""
        found = list(lines)
        for command, rest in self.commands:
            if command == "filter":
                condition = rest
                for name, value in replaced.items():
                    condition = condition.replace(name.replace("_", "-"), value)
                found = [line for line in found if _holds(condition, flat(line))]
        return found


def saved_queries() -> dict[str, SavedQuery]:
    """The template's queries, by the name after the stack's."""
    found = {}
    for resource in parse_template(TEMPLATE)["Resources"].values():
        if resource["Type"] == "AWS::Logs::QueryDefinition":
            properties = resource["Properties"]
            name = str(properties["Name"]["Fn::Sub"]).removeprefix("${AWS::StackName}/")
            groups = tuple(group["Ref"] for group in properties["LogGroupNames"])
            found[name] = SavedQuery(name, properties["QueryString"].strip(), groups)
    return found


def access_log_line(**values: Any) -> dict[str, Any]:
    """A line of the template's access log, `-` where `values` says nothing, as API Gateway writes it."""
    settings = parse_template(TEMPLATE)["Resources"]["Api"]["Properties"]["AccessLogSettings"]
    return {name: str(values.get(name, "-")) for name in json.loads(settings["Format"])}


def flat(line: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The line's fields as Logs Insights discovers them: with a dot between the names of nested objects."""
    fields: dict[str, Any] = {}
    for name, value in line.items():
        if isinstance(value, dict):
            fields |= flat(value, f"{prefix}{name}.")
        fields[f"{prefix}{name}"] = value
    return fields


def _words(query: str, text: str) -> Iterator[tuple[str, str]]:
    """Each name and keyword, with the character after it."""
    position = 0
    while text[position:].strip():
        token = _TOKEN.match(text, position)
        if token is None:
            raise QueryError(f"{query}: {text[position:]!r} cannot be read")
        position = token.end()
        if token[2]:
            yield token[2], text[position : position + 1]


def _holds(condition: str, fields: dict[str, Any]) -> bool:
    if "(" in condition.replace("ispresent(", ""):
        raise QueryError("Brackets in filters are more than this reader knows.")
    return any(
        all(_compares(part.strip(), fields) for part in re.split(r"\sand\s", alternative))
        for alternative in re.split(r"\sor\s", condition)
    )


def _compares(text: str, fields: dict[str, Any]) -> bool:
    if present := _PRESENT.match(text):
        return fields.get(present[1]) is not None
    comparison = _COMPARISON.match(text)
    if comparison is None:
        raise QueryError(f"{text!r} is no comparison that this reader knows.")
    name, operator, expected = comparison.groups()
    found = fields.get(name)
    if found is None:
        return False
    wanted: Any = json.loads(expected)
    if operator == "in":
        return bool(found in wanted)
    if isinstance(wanted, str):
        return {"=": str(found) == wanted, "!=": str(found) != wanted}[operator]
    number = float(found)
    return bool(
        {
            "=": number == wanted,
            "!=": number != wanted,
            "<": number < wanted,
            "<=": number <= wanted,
            ">": number > wanted,
            ">=": number >= wanted,
        }[operator]
    )
