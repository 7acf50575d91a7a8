"""Creates, updates and shows sessions."""

from muster.http import body, create_app, lambda_handler_for, service
from muster.models import Session

app = create_app()


@app.put("/v1/sessions/<session_id>")
def put_session(session_id: str) -> Session:
    """Create or update a session."""
    return service(app).put_session(session_id, body(app))


@app.get("/v1/sessions/<session_id>")
def get_session(session_id: str) -> Session:
    """A session and what is known of it."""
    return service(app).get_session(session_id)


lambda_handler = lambda_handler_for(app)
