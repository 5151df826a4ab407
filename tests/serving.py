"""A server without sockets: requests are put to the ASGI application, and models may be made up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tiny_artifact import write_artifact

from edgecompress.runtime.predictions import Label
from edgecompress.serve.app import build
from edgecompress.serve.models import Served
from edgecompress.serve.service import Service, load_models
from edgecompress.serve.settings import Settings
from edgecompress.tasks import TASKS

JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


def tiny_service(folder: Path, tasks: Sequence[str] = ("sentiment",), **limits: Any) -> Service:
    settings = Settings(**{"threads": 1, "watch": 0, **limits})
    for task in tasks:
        write_artifact(folder / task, task)
    return Service(load_models({task: folder / task for task in tasks}, settings), settings)


def made_up(
    predict: Callable[[list[str]], list[Any]], name: str = "m", task: str = "sentiment", size: int = 32
) -> Served:
    """A model that labels with ``predict``, ``size`` texts at a time."""

    class Predictor:
        artifact = SimpleNamespace(task=TASKS[task], folder=Path(name), labels=(), max_length=16, scheme="fp32",
                                   parameters=0, model_file="f", checksums={"f": "0"})  # fmt: skip
        batch_size = size

        def __call__(self, texts: list[str]) -> list[Any]:
            return predict(texts)

    return Served(name, Predictor(), (), 0.0)


def echo(texts: list[str]) -> list[Label]:
    return [Label(text, 1.0, {text: 1.0}) for text in texts]


def bare_service(**limits: Any) -> Service:
    return Service({"m": made_up(echo)}, Settings(**{"watch": 0, **limits}))


async def call(
    app: Any, method: str, path: str, body: Any = b"", headers: Mapping[str, str] = JSON, *, chunks: Any = None
) -> Answer:
    """One request; ``body`` is sent as it is when it is bytes, else as JSON; ``chunks`` are sent in its place."""
    whole = body if isinstance(body, bytes) else json.dumps(body).encode()
    parts = iter([whole] if chunks is None else chunks)
    sent: list[Any] = []

    async def receive() -> Mapping[str, Any]:
        part = next(parts, None)
        if part is None:
            return {"type": "http.disconnect"}
        if callable(part):
            await part()
            return {"type": "http.request", "body": b"", "more_body": True}
        return {"type": "http.request", "body": part, "more_body": chunks is not None}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
             "path": path, "raw_path": path.encode("utf-8", "replace"), "query_string": b"", "root_path": "",
             "headers": raw, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}  # fmt: skip
    await app(scope, receive, send)
    start = sent[0]
    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))


def drive(service: Service, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Run ``work`` on the application of ``service`` while its queues are emptied."""

    async def main() -> Any:
        app = build(service)
        async with service.running():
            return await work(app)

    return asyncio.run(main())


def predict(service: Service, body: Any, headers: Mapping[str, str] = JSON) -> Answer:
    return drive(service, lambda app: call(app, "POST", "/v1/predict", body, headers))
