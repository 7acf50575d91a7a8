"""The functions' tables of routes."""

import importlib

from local.paths import TEMPLATE
from local.sam.template import load_template
from muster.api.routing import Routes


def route_tables() -> dict[str, Routes]:
    """The table of each function that the template has routes for, by the function's name in the template's order."""
    template = load_template(TEMPLATE)
    names = dict.fromkeys(route.function for route in template.routes)
    return {name: _table(template.functions[name].source.name) for name in names}


def _table(folder: str) -> Routes:
    table: Routes = importlib.import_module(f"functions.{folder}.app").ROUTES
    return table
