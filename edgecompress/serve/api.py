"""The paths of the server in one table: the routes, the OpenAPI document and the docs page are made of it."""

from __future__ import annotations

from dataclasses import dataclass

_PREDICT_REFUSALS = (
    *("bad_json", "bad_utf8", "incomplete_body", "unknown_model", "slow_body", "body_too_large"),
    *("wrong_content_type", "bad_request", "bad_text", "too_many_texts", "text_too_long"),
    *("model_failed", "queue_full", "timeout", "draining"),
)


@dataclass(frozen=True)
class Endpoint:
    """One path. ``schema`` names a schema of the OpenAPI document for JSON answers; ``guarded`` asks for the token;
    ``refusals`` are the codes that it may answer with, beside those of every path.
    """

    path: str
    summary: str
    method: str = "GET"
    media: str = "application/json"
    schema: str | None = None
    guarded: bool = False
    quiet: bool = False  # logged at level debug: probes and scrapes would drown the rest
    refusals: tuple[str, ...] = ()


ENDPOINTS = (
    Endpoint(
        "/v1/predict", "Label texts.", "POST", schema="Predictions", guarded=True, refusals=_PREDICT_REFUSALS
    ),
    Endpoint("/v1/models", "The models, their tasks and labels.", schema="Models", guarded=True),
    Endpoint("/healthz", "200 while the process is alive.", schema="Status", quiet=True),
    Endpoint("/readyz", "200 while requests are welcome: the models are loaded and checked.", schema="Status",
             quiet=True, refusals=("draining",)),
    Endpoint("/metrics", "Figures for Prometheus.", media="text/plain", guarded=True, quiet=True),
    Endpoint("/openapi.json", "This interface in OpenAPI 3.1.", schema="OpenAPI"),
    Endpoint("/docs", "This interface as a page.", media="text/html"),
    Endpoint("/", "A page to try the models.", media="text/html"),
)  # fmt: skip
BY_PATH = {endpoint.path: endpoint for endpoint in ENDPOINTS}
