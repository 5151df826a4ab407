"""From a checked service to a listening process: the socket, signals, and stopping without dropping a request."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import uvicorn

from edgecompress.errors import InputError
from edgecompress.serve.app import build
from edgecompress.serve.connection import Guard
from edgecompress.serve.logs import event
from edgecompress.serve.service import Service

_TICK = 0.02  # seconds between two looks at what is still in flight
_LATER = 2  # seconds after the guard has ended an idle connection that uvicorn would
_WHY = {
    errno.EADDRINUSE: "it is in use: give another --port, or stop the other server",
    errno.EACCES: "permission denied: give a --port from 1024",
    errno.EADDRNOTAVAIL: "this machine has no such address: give another --host",
}


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that holds the address and does not listen yet. Raises InputError when it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(f"--host {host} is no address that can be resolved: give one of this machine") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        why = _WHY.get(error.errno or 0, error.strerror or str(error))
        raise InputError(f"cannot listen on {host}, port {port}: {why}") from error
    return bound


def address_of(bound: socket.socket) -> str:
    """Return the http address of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if bound.family == socket.AF_INET6 else f"http://{host}:{port}"


def serve(service: Service, bound: socket.socket, started: Callable[[], None]) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish those that were accepted; SIGHUP loads the models again."""
    guard = Guard(service.settings, service.metrics)
    asyncio.run(_serve(uvicorn.Server(config_of(service, guard)), service, guard, bound, started))


def config_of(service: Service, guard: Guard) -> uvicorn.Config:
    """Return uvicorn's settings; how long a connection may idle is the guard's to say."""
    return uvicorn.Config(
        build(service), lifespan="on", log_config=None, access_log=False, server_header=False, ws="none",
        timeout_graceful_shutdown=1, timeout_keep_alive=math.ceil(service.settings.timeout) + _LATER,
        http=cast("type[asyncio.Protocol]", guard),
    )  # fmt: skip


async def _serve(
    server: uvicorn.Server, service: Service, guard: Guard, bound: socket.socket, started: Callable[[], None]
) -> None:
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    sweeping = asyncio.create_task(guard.sweep(asyncio.get_running_loop().time))
    while not server.started and not serving.done():
        await asyncio.sleep(_TICK)
    if server.started:
        _take_signals(server, service, guard)
        started()
    await serving
    sweeping.cancel()


def _take_signals(server: uvicorn.Server, service: Service, guard: Guard) -> None:
    """Replace uvicorn's handlers: it stops listening at once, and would end the process by the signal it got."""
    loop = asyncio.get_running_loop()
    held: set[asyncio.Task[None]] = set()  # the loop keeps weak references only

    def start(work: asyncio.Task[None]) -> None:
        held.add(work)
        work.add_done_callback(held.discard)

    def stop() -> None:
        if service.draining:  # asked twice: do not wait
            server.should_exit = True
            return
        start(loop.create_task(drain(server, service, guard)))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    with suppress(AttributeError):  # no SIGHUP on Windows
        loop.add_signal_handler(signal.SIGHUP, lambda: start(loop.create_task(service.reload_all())))


async def drain(server: uvicorn.Server, service: Service, guard: Guard) -> None:
    """Refuse new requests, /readyz included, and wait for ``settings.drain`` seconds until the accepted ones are
    answered and the answers are sent, then stop.
    """
    loop = asyncio.get_running_loop()
    service.draining = True
    event("draining", requests=guard.busy)
    deadline = loop.time() + service.settings.drain
    while (service.predicting or guard.busy) and loop.time() < deadline:
        await asyncio.sleep(_TICK)
    if abandoned := max(service.predicting, guard.busy):
        event("drain limit reached", logging.ERROR, abandoned=abandoned)
        service.refuse_waiting()
    server.should_exit = True
