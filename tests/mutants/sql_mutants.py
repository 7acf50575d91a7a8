"""The mutants of a SQL function's file, made on the tokens of PostgreSQL's own scanner.

No parser could be used: sqlglot knows no PL/pgSQL, and PostgreSQL's own keeps PL/pgSQL expressions as text. PostgreSQL
refuses to create a mutant that is not valid SQL.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pglast.parser import scan

from tests.mutants.mutant import Mutant

FLIPPED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "=": "<>", "<>": "=", "!=": "=", "AND": "OR", "OR": "AND"}
FLIPPED |= {"TRUE": "false", "FALSE": "true", "LEAST": "greatest", "GREATEST": "least", "MIN": "max", "MAX": "min"}
BLOCKS = {"CASE", "(", "["}
_NAME = re.compile(r"CREATE OR REPLACE (?:FUNCTION|PROCEDURE)\s+([\w.]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Token:
    """A token of a function's body; comments are none."""

    word: str
    """Its text, in capitals."""
    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Change:
    """A replacement of a part of the file."""

    operator: str
    start: int
    end: int
    text: str


def function_name(text: str) -> str | None:
    """The name of the function that a file defines, with its schema; None if it defines none."""
    found = _NAME.search(text)
    return found[1].lower() if found else None


def sql_mutants(path: str, text: str) -> Iterator[Mutant]:
    """Every mutant of a file's function bodies, each once."""
    seen = {text}
    for tokens in _bodies(text):
        for at in range(len(tokens)):
            for change in _changes(text, tokens, at):
                changed = text[: change.start] + change.text + text[change.end :]
                if changed not in seen:
                    seen.add(changed)
                    yield Mutant(path, change.operator, text, changed)


def with_comment(text: str) -> str:
    """The file with a comment in each body: a mutant that changes nothing."""
    for tokens in reversed(list(_bodies(text))):
        text = text[: tokens[0].start] + "/* unchanged */ " + text[tokens[0].start :]
    return text


def _bodies(text: str) -> Iterator[list[Token]]:
    for token in _tokens(text, 0):
        quote = re.match(r"\$\w*\$", token.word)
        if token.kind == "SCONST" and quote:
            start, end = token.start + len(quote[0]), token.end - len(quote[0])
            yield _tokens(text[start:end], start)


def _tokens(text: str, offset: int) -> list[Token]:
    return [
        Token(text[each.start : each.end + 1].upper(), each.name, offset + each.start, offset + each.end + 1)
        for each in scan(text)
        if each.name not in ("SQL_COMMENT", "C_COMMENT")
    ]


def _changes(text: str, tokens: Sequence[Token], at: int) -> Iterator[Change]:
    token, before = tokens[at], tokens[at - 1].word if at else ""
    after = tokens[at + 1].word if at + 1 < len(tokens) else ""
    if token.word in FLIPPED:
        yield Change(f"{token.word} to {FLIPPED[token.word]}", token.start, token.end, FLIPPED[token.word])
    elif token.word == "NOT":
        yield Change("NOT removed", token.start, token.end, "")
    elif token.word == "IS" and after == "NULL":
        yield Change("IS NULL negated", token.start, token.end, "IS NOT")
    elif token.kind == "ICONST" or (token.kind == "SCONST" and before == "INTERVAL"):
        yield from _numbers(token)
    elif token.word == "COALESCE" and after == "(":
        yield from _swapped(text, tokens, at + 2)
    elif token.word in ("WHEN", "IF", "ELSIF") and before != "END":
        yield from _conditions(text, tokens, at)


def _numbers(token: Token) -> Iterator[Change]:
    """The first number of a constant, one more and one less."""
    if found := re.search(r"\d+", token.word):
        for number in (int(found[0]) + 1, int(found[0]) - 1):
            yield Change("number changed", token.start + found.start(), token.start + found.end(), str(number))


def _conditions(text: str, tokens: Sequence[Token], at: int) -> Iterator[Change]:
    if span := _span(tokens, at + 1, {"THEN"}):
        if tokens[at].word == "WHEN":
            yield Change("WHEN branch removed", *span, "case_not_found" if _handles_exceptions(tokens, at) else "false")
        else:
            yield Change("condition negated", *span, f"NOT ({text[span[0] : span[1]]})")


def _swapped(text: str, tokens: Sequence[Token], first: int) -> Iterator[Change]:
    """The arguments of coalesce, each swapped with the next."""
    arguments = []
    while span := _span(tokens, first, {",", ")"}):
        arguments.append(span)
        first = next(n for n in range(first, len(tokens)) if tokens[n].start >= span[1]) + 1
        if tokens[first - 1].word == ")":
            break
    for (a, b), (c, d) in pairwise(arguments):
        yield Change("coalesce arguments swapped", a, d, text[c:d] + text[b:c] + text[a:b])


def _span(tokens: Sequence[Token], first: int, until: set[str]) -> tuple[int, int] | None:
    """From where to where the tokens reach until one of these that is in no bracket and no inner CASE."""
    depth = 0
    for n in range(first, len(tokens)):
        word = tokens[n].word
        if depth == 0 and word in until:
            return (tokens[first].start, tokens[n - 1].end) if n > first else None
        if word == ";":
            return None
        depth += (word in BLOCKS) - (word in (")", "]") or (word == "END" and depth > 0))
    return None


def _handles_exceptions(tokens: Sequence[Token], at: int) -> bool:
    """Whether a WHEN is of EXCEPTION: no CASE before it is open."""
    open_cases = 0
    for n in range(at):
        open_cases += tokens[n].word == "CASE" and tokens[n - 1].word != "END"
        open_cases -= tokens[n].word == "END" and open_cases > 0
    return open_cases == 0
