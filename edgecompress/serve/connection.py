"""What a connection may do around its requests: heads without end, waiting for ever, answers that nobody reads.

uvicorn leaves these to a proxy in front of it. Here each connection is uvicorn's own with a guard before it, and one
look a second at what does not move.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edgecompress.serve.logs import event
from edgecompress.serve.metrics import Metrics
from edgecompress.serve.refusal import MAX_HEAD, REFUSALS, RETRY_SECONDS
from edgecompress.serve.settings import Settings

_PIPELINED = 64  # requests that may wait on one connection: uvicorn reads on while they do
_BODIES = 64  # times the body limit that is read and thrown away of a refused body, so that its sender reads why
_SWEEP = 1.0  # seconds
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class Connection:
    """An asyncio protocol: uvicorn's, ``inner``, and what it has been doing since when."""

    def __init__(self, inner: HttpToolsProtocol, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard
        self._transport: Joined | None = None  # none while refused, too
        self._message: object = None
        self._bytes = 0  # of that message
        self._still: tuple[str, object, int] = ("", None, 0)
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, or refuse one connection too many."""
        if not self._guard.admit(self):
            transport.write(_raw("queue_full", "too many connections are open: try again"))
            transport.close()
            return
        self._transport = joined = Joined(transport)
        self._inner.connection_made(cast("asyncio.Transport", joined))

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived, and end what grows without end."""
        inner, transport = self._inner, self._transport
        if transport is None:
            return
        inner.data_received(data if self._in_body else _without_upgrade(data))
        if transport.is_closing():
            return
        self._bytes = self._bytes + len(data) if inner.scope is self._message else 0
        self._message = inner.scope
        if inner.parser.should_upgrade() and inner.cycle:  # a field that came in two parts
            inner.cycle.keep_alive = False  # the parser takes what follows for another protocol
        if len(inner.pipeline) > _PIPELINED:
            self._end("pipelined")
        elif self._in_head and self._bytes > MAX_HEAD:
            if inner.cycle is None or inner.cycle.response_complete:
                transport.write(_raw("head_too_large", f"the head is larger than {MAX_HEAD} bytes"))
            self._end("head_too_large", abort=False)
        elif self._bytes > MAX_HEAD + _BODIES * self._guard.settings.max_body:
            self._end("endless_body")

    def eof_received(self) -> None:
        """Pass on."""
        self._inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """Pass on, and make room for another."""
        if self._transport is not None:
            self._guard.forget(self)
            self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        """Pass on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._inner.resume_writing()

    def refuse_malformed(self, msg: str) -> None:
        """Answer what no request can be read from in the form of every other error, and close; uvicorn would send
        ``msg`` as plain text.
        """
        if self._transport is not None:
            said = f"{msg.rstrip('.')}: check the request line and the header fields"
            self._transport.write(_raw("bad_http", said))
            self._end("malformed", abort=False)

    def look(self, now: float) -> None:
        """End the connection when it has been waiting for its peer, without any change, for ``settings.timeout``."""
        kind, what, size = still = self._waits_for()
        if kind != self._still[0] or what is not self._still[1] or size != self._still[2]:
            self._still, self._since = still, now
        elif kind and now - self._since > self._guard.settings.timeout:
            self._end(kind)

    @property
    def busy(self) -> bool:
        """Whether a request is being answered, or its answer has not been sent whole."""
        if self._transport is None:
            return False
        cycle = self._inner.cycle
        return self._transport.get_write_buffer_size() > 0 or (cycle is not None and not cycle.response_complete)

    @property
    def _in_head(self) -> bool:
        return self._inner.scope is not (self._inner.cycle.scope if self._inner.cycle else None)

    @property
    def _in_body(self) -> bool:
        return not self._in_head and self._inner.cycle is not None and self._inner.cycle.more_body

    def _waits_for(self) -> tuple[str, object, int]:
        """Return what the peer is waited for, of which message, and how many bytes wait; "" while it is our turn."""
        inner, cycle = self._inner, self._inner.cycle
        if self._transport is not None and inner.flow.write_paused:
            return "unread_answer", cycle, self._transport.get_write_buffer_size()
        if self._in_head:
            return "slow_head", inner.scope, 0
        if cycle is None or cycle.response_complete:
            return "idle", cycle, 0
        return "", cycle, 0

    def _end(self, reason: str, *, abort: bool = True) -> None:
        if self._transport is not None:
            self._guard.note(reason)
            (self._transport.abort if abort else self._transport.close)()


class Joined:
    """A transport that sends what is written in one step of the event loop at once: head and body of an answer are
    written one after the other, and each would be a call of the system and wake the client.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parts: list[bytes] = []
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.abort = transport.abort

    def write(self, data: bytes) -> None:
        """Send ``data`` soon."""
        if not self._parts:
            asyncio.get_running_loop().call_soon(self.flush)
        self._parts.append(data)

    def flush(self) -> None:
        """Send what was written."""
        parts, self._parts = self._parts, []
        if parts:
            self._transport.write(b"".join(parts))

    def close(self) -> None:
        """Send what was written, then close."""
        self.flush()
        self._transport.close()

    def get_write_buffer_size(self) -> int:
        """Return the bytes that are not sent yet."""
        return self._transport.get_write_buffer_size() + sum(map(len, self._parts))


class Guard:
    """The connections of one server. Call it with uvicorn's arguments for a new one."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self._metrics = metrics
        self._open: set[Connection] = set()

    def __call__(self, **given: Any) -> Connection:
        """Return the protocol of a new connection."""
        inner = HttpToolsProtocol(**given)
        connection = Connection(inner, self)
        inner.send_400_response = connection.refuse_malformed  # type: ignore[method-assign] # uvicorn's is plain text
        return connection

    def admit(self, connection: Connection) -> bool:
        """Count a connection in, unless there are too many."""
        if len(self._open) >= self.settings.max_connections:
            self.note("too_many")
            return False
        self._open.add(connection)
        self._metrics.connections.set(len(self._open))
        return True

    def forget(self, connection: Connection) -> None:
        """Count a connection out."""
        self._open.discard(connection)
        self._metrics.connections.set(len(self._open))

    @property
    def busy(self) -> int:
        """How many connections are in the middle of a request or of its answer."""
        return sum(connection.busy for connection in self._open)

    def note(self, reason: str) -> None:
        """Log and count a connection that was ended."""
        self._metrics.ended.labels(reason).inc()
        event("connection ended", reason=reason)

    async def sweep(self, clock: Callable[[], float]) -> None:
        """Look at every connection once a second until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP)
            for connection in list(self._open):
                connection.look(clock())


def _without_upgrade(data: bytes) -> bytes:
    """Return ``data`` with another name for an Upgrade field in its head, which a server may leave alone.

    The parser would drop the body of such a request; Java's HttpClient offers h2c with each one.
    """
    end = data.find(b"\r\n\r\n")
    found = _UPGRADE.search(data, 0, len(data) if end < 0 else end)
    return data[: found.start()] + b"\r\nx-grade:" + data[found.end() :] if found else data


def _raw(code: str, message: str) -> bytes:
    """Return a whole refusal where no request has been read that an application could answer."""
    status = HTTPStatus(REFUSALS[code][0])
    body = json.dumps({"error": {"code": code, "message": message}})
    head = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        head += f"\r\nretry-after: {RETRY_SECONDS}"
    return f"{head}\r\nconnection: close\r\n\r\n{body}".encode("ascii")
