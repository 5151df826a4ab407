"""What is done for every request, around the routes: its id, the token, one log line, the figures."""

from __future__ import annotations

import hmac
import logging
import re
import time
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgecompress.serve.api import BY_PATH, Endpoint
from edgecompress.serve.logs import event
from edgecompress.serve.refusal import MAX_HEAD, refuse
from edgecompress.serve.service import Service

_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
NOTES = "edgecompress.notes"  # a dict in the scope: what a handler wants in the log line
_NO_ANSWER = 499  # the client left, or the server was stopped, before an answer began


def around(app: ASGIApp, service: Service) -> ASGIApp:
    """Return ``app`` with ids, the token, logs and figures."""

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id", b""))
        begin, status = time.perf_counter(), _NO_ANSWER
        scope[NOTES] = {"id": request_id}
        endpoint = BY_PATH.get(scope["path"])

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        inner = _refusal(service.settings.token, endpoint, scope, headers) or app
        service.metrics.in_flight.inc()
        try:
            await inner(scope, receive, sending)
        finally:
            service.metrics.in_flight.dec()
            _record(service, scope, endpoint, status, time.perf_counter() - begin)

    return outer


def _request_id(given: bytes) -> str:
    """Return the caller's id where it is a short plain one: anything else could forge log lines."""
    return given.decode("ascii") if _ID.fullmatch(given) else uuid4().hex


def _may(token: str | None, endpoint: Endpoint | None, headers: dict[bytes, bytes]) -> bool:
    if token is None or endpoint is None or not endpoint.guarded:
        return True
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    return hmac.compare_digest(given.strip(), token.encode("ascii")) and scheme.lower() == b"bearer"


def _refusal(token: str | None, endpoint: Endpoint | None, scope: Scope, headers: dict[bytes, bytes]) -> ASGIApp | None:
    """Return the answer to a request that no handler shall see, or None."""
    fields = sum(len(name) + len(value) for name, value in scope["headers"])
    if len(scope["raw_path"]) + len(scope["query_string"]) + fields > MAX_HEAD:
        code, message = "head_too_large", f"the head is larger than {MAX_HEAD} bytes"
    elif not _may(token, endpoint, headers):
        code, message = "unauthorized", "send the header 'Authorization: Bearer TOKEN' with this server's token"
    else:
        return None
    scope[NOTES]["code"] = code
    return refuse(code, message)


def _record(service: Service, scope: Scope, endpoint: Endpoint | None, status: int, seconds: float) -> None:
    """Log and count. A path that the server does not know is not repeated: it may hold anything."""
    path = endpoint.path if endpoint else "other"
    service.metrics.requests.labels(path, str(status)).inc()
    service.metrics.seconds.labels(path).observe(seconds)
    level = logging.DEBUG if endpoint and endpoint.quiet else logging.INFO
    method = scope["method"] if scope["method"] in _METHODS else "other"
    notes: dict[str, Any] = scope[NOTES]
    event("request", level, method=method, path=path, status=status, ms=round(seconds * 1000, 2), **notes)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
