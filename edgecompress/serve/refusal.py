"""Every answer that is not a result: one table of codes, from which the OpenAPI document is made, too."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

# code → status, and what it means
REFUSALS: Mapping[str, tuple[int, str]] = {
    "bad_http": (400, "The request is not HTTP, or its fields contradict each other."),
    "bad_json": (400, "The body is not a JSON object."),
    "bad_utf8": (400, "The body is not UTF-8."),
    "incomplete_body": (400, "The connection was closed before the body had arrived."),
    "unauthorized": (401, "The bearer token is missing or wrong."),
    "unknown_path": (404, "There is no such path."),
    "unknown_model": (404, "No model of this name is served."),
    "wrong_method": (405, "The path does not take this method."),
    "slow_body": (408, "The body did not arrive within the time limit."),
    "body_too_large": (413, "The body is larger than the limit."),
    "wrong_content_type": (415, "The body is not sent as plain application/json."),
    "head_too_large": (431, "The request line and the header fields are larger than 64 KiB."),
    "bad_request": (422, "A field is missing, unknown, or of a wrong type."),
    "bad_text": (422, "A text holds a lone surrogate, which no UTF-8 can carry."),
    "too_many_texts": (422, "More texts than a request may hold."),
    "text_too_long": (422, "A text is longer than the limit."),
    "internal": (500, "The server made a mistake; its log says which."),
    "model_failed": (500, "The model could not be run on this request; the server's log says why."),
    "queue_full": (503, "Too many texts or requests are waiting: try again."),
    "timeout": (503, "The request was not answered within the time limit."),
    "draining": (503, "The server is stopping: ask another one."),
}
RETRY_SECONDS = "1"
MAX_HEAD = 65_536  # bytes of the request line and the header fields


class Refusal(Exception):  # noqa: N818 - most of them are the caller's doing, no error of this program
    """A request that is not answered with a result. ``code`` is a key of REFUSALS."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = REFUSALS[code][0]
        self.message = message


def refuse(code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the one JSON form that every error has."""
    status = REFUSALS[code][0]
    more = dict(headers or {})
    if status == 503:  # noqa: PLR2004 - Service Unavailable
        more["Retry-After"] = RETRY_SECONDS
    if code == "unauthorized":
        more["WWW-Authenticate"] = 'Bearer realm="edgecompress"'
    if code in ("draining", "slow_body", "head_too_large"):  # a large body is read to its end: else nobody reads why
        more["Connection"] = "close"
    body = json.dumps({"error": {"code": code, "message": message}}, ensure_ascii=False)
    return Response(body, status, more, media_type="application/json")
