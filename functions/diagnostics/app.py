"""Says what works and what does not."""

from muster.diagnostics import Diagnostics
from muster.http import create_app, lambda_handler_for, public_service, service

app = create_app()


@app.get("/v1/diagnostics")
def run_diagnostics() -> Diagnostics:
    """Every check with its remedy."""
    return service(app).run_diagnostics()


@app.get("/healthz")
def check_health() -> dict[str, str]:
    """Whether the database answers and the schema is current."""
    return public_service().check_health()


lambda_handler = lambda_handler_for(app)
