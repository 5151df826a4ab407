"""The ASGI application: each path of the table with what answers it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from edgecompress.serve.api import ENDPOINTS
from edgecompress.serve.asked import Asked, read
from edgecompress.serve.metrics import CONTENT_TYPE
from edgecompress.serve.models import describe
from edgecompress.serve.openapi import document
from edgecompress.serve.outer import NOTES, around
from edgecompress.serve.pages import CONTENT_POLICY, docs_page, try_page
from edgecompress.serve.refusal import Refusal, refuse
from edgecompress.serve.service import Service

Handler = Callable[[Request], Awaitable[Response]]
_IN_THREAD = 50_000  # bytes of JSON from which reading it would hold up the event loop


def build(service: Service) -> ASGIApp:
    """Return the application of ``service``, which it starts and stops with its own life."""
    answers = handlers(service)
    routes = [Route(one.path, answers[one.path], methods=[one.method]) for one in ENDPOINTS]

    def lifespan(_app: Starlette) -> AbstractAsyncContextManager[None]:
        return service.running()

    errors: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {  # plain functions get a thread each
        Refusal: _refused, HTTPException: _not_routed, Exception: _broken
    }  # fmt: skip
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=errors)
    app.router.redirect_slashes = False
    return around(app, service)


def handlers(service: Service) -> Mapping[str, Handler]:
    """Return path → the function that answers it."""
    pages = {"/": try_page(), "/docs": docs_page(document(service.settings))}

    async def predict(request: Request) -> Response:
        return await _predict(service, request)

    async def models(_request: Request) -> Response:
        return _json({"models": [describe(served) for served in service.models.values()]})

    async def healthz(_request: Request) -> Response:
        return _json({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        if not service.ready:
            raise Refusal("draining", "the server is stopping")
        return _json({"status": "ready"})

    async def metrics(_request: Request) -> Response:
        return Response(service.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    async def openapi(_request: Request) -> Response:
        return _json(document(service.settings))

    async def page(request: Request) -> Response:
        safe = {"Content-Security-Policy": CONTENT_POLICY, "X-Content-Type-Options": "nosniff"}
        return Response(pages[request.url.path], headers=safe, media_type="text/html")

    named = {"/v1/predict": predict, "/v1/models": models, "/healthz": healthz, "/readyz": readyz}
    return {**named, "/metrics": metrics, "/openapi.json": openapi, "/docs": page, "/": page}


async def _predict(service: Service, request: Request) -> Response:
    if service.draining:
        raise Refusal("draining", "the server is stopping: ask another one")
    if service.predicting >= service.settings.max_requests:
        raise Refusal("queue_full", f"{service.predicting} requests are being answered: try again")
    service.predicting += 1
    try:
        asked = await _asked(service, request)
        notes = request.scope[NOTES]
        notes["texts"] = asked.count
        if service.settings.log_text:
            notes["text"] = [*asked.texts, *asked.sentences]
        served, fragments = await service.predict(asked)
        notes["model"] = served.name
        body = f'{{"model":{json.dumps(served.name)},"predictions":[{",".join(fragments)}]}}'
        return Response(body, media_type="application/json")
    finally:
        service.predicting -= 1


async def _asked(service: Service, request: Request) -> Asked:
    _check_type(request)
    try:
        async with asyncio.timeout(service.settings.timeout):
            body = await _body(request, service.settings.max_body)
    except TimeoutError as error:
        raise Refusal("slow_body", f"the body did not arrive within {service.settings.timeout:g} s") from error
    except ClientDisconnect as error:
        raise Refusal("incomplete_body", "the connection was closed before the body had arrived") from error
    if len(body) < _IN_THREAD:
        return read(body, service.settings)
    return await asyncio.to_thread(read, body, service.settings)


def _check_type(request: Request) -> None:
    """Raise Refusal unless the body is plain JSON: a browser then asks before it sends one from a foreign page."""
    media, _, rest = request.headers.get("content-type", "").lower().partition(";")
    charset = rest.replace(" ", "").replace('"', "")
    if media.strip() != "application/json" or charset not in ("", "charset=utf-8", "charset=utf8"):
        raise Refusal("wrong_content_type", "send the header 'Content-Type: application/json' and UTF-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal("wrong_content_type", "send the body without Content-Encoding")


async def _body(request: Request, most: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdecimal() and (len(declared) > len(str(most)) or int(declared) > most):
        raise Refusal("body_too_large", f"the body is larger than {most} bytes")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise Refusal("body_too_large", f"the body is larger than {most} bytes")
    return bytes(body)


def _json(data: Mapping[str, Any]) -> Response:
    return Response(json.dumps(data, ensure_ascii=False), media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - registered for this class; tells the type checker
    request.scope[NOTES]["code"] = error.code
    return refuse(error.code, error.message)


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    code = "wrong_method" if error.status_code == 405 else "unknown_path"  # noqa: PLR2004 - Method Not Allowed
    request.scope[NOTES]["code"] = code
    hint = "see /docs for paths and their methods"
    return refuse(code, f"{REASONS[code]}: {hint}", error.headers)


REASONS = {"wrong_method": "this path does not take this method", "unknown_path": "there is no such path"}


async def _broken(request: Request, _error: Exception) -> Response:
    notes = request.scope[NOTES]
    notes["code"] = "internal"
    return refuse("internal", f"the server made a mistake; its log has more under the id {notes['id']}")
