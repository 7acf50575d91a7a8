"""The mutants of a Python module, by the operators of cosmic-ray.

Its runner is not used: it changes the files of the working tree, and starts pytest and PostgreSQL for each mutant.
"""

from collections.abc import Callable, Iterator
from functools import partial

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from tests.mutants.mutant import Mutant

# Pairs, not all of cosmic-ray's 213: `|` also separates types, and a comparison that is wrong at its boundary or
# everywhere needs the same tests as one that is wrong in five more ways.
OPERATORS = (
    *(
        f"ReplaceComparisonOperator_{pair}"
        for pair in (
            "Lt_LtE",
            "Lt_GtE",
            "LtE_Lt",
            "LtE_Gt",
            "Gt_GtE",
            "Gt_LtE",
            "GtE_Gt",
            "GtE_Lt",
            "Eq_NotEq",
            "NotEq_Eq",
            "Is_IsNot",
            "IsNot_Is",
        )
    ),
    *(
        f"ReplaceBinaryOperator_{pair}"
        for pair in ("Add_Sub", "Sub_Add", "Mul_FloorDiv", "Div_Mul", "FloorDiv_Mul", "Mod_FloorDiv")
    ),
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_USub",
    "AddNot",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ZeroIterationForLoop",
    "NumberReplacer",
)


def python_mutants(path: str, text: str) -> Iterator[Callable[[], Mutant]]:
    """Each mutant of a module, made when it is called for: making one takes a tenth of a second."""
    nodes = list(ast_nodes(get_ast(text)))
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        for occurrence in range(sum(len(list(operator.mutation_positions(node))) for node in nodes)):
            yield partial(_mutant, path, text, name, occurrence)


def _mutant(path: str, text: str, name: str, occurrence: int) -> Mutant:
    return Mutant(path, name, text, mutate_code(text, get_operator(f"core/{name}")(), occurrence) or text)
