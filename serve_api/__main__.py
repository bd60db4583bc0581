"""`python -m serve_api`: serve one model."""

from serve_api.commands import app

app(prog_name="python -m serve_api")
