"""Requests that nobody should send, over real sockets, to a real server: see serve_kinds, serve_wire, serve_clients."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from serve_clients import CLIENTS
from serve_kinds import BODIES, Case, World, whole
from serve_process import Process
from serve_wire import WIRE

KINDS = {**BODIES, **WIRE, **CLIENTS}
WARM_UP = 2_000  # requests before memory is called steady
EVERY = 25  # a good request between so many
ABREAST = 16  # clients
PATIENCE = 40.0  # seconds for one answer: beyond what the server may take
SETTLE = 8.0  # seconds: kept connections end after 5


@dataclass
class Found:
    """What came back."""

    seen: dict[str, Counter[str]] = field(default_factory=dict)
    unexpected: list[dict[str, Any]] = field(default_factory=list)
    unexpected_count: int = 0
    checks: int = 0
    busy: int = 0  # of the checks: answered 503
    control: bytes = b""  # the answer to the good request
    held: list[dict[str, float]] = field(default_factory=list)

    def note(self, kind: str, case: Case, got: list[str]) -> None:
        """Count answers, and keep what was not to be expected."""
        self.seen.setdefault(kind, Counter()).update(got or ["broken off"])
        may = {str(status) for status in case.may}
        if "200" in may:
            may.add("503")  # a server that has too much to do says so; how often is in ``seen``
        wrong = [one for one in got if one not in may]
        if wrong or len(got) < case.answers:
            self.wrong(kind, {"got": got[:5], "may": sorted(may), "answers": case.answers, "end": case.end,
                              "sent": [repr(part[:300]) for part in case.parts[:3]]})  # fmt: skip

    def wrong(self, kind: str, example: Mapping[str, Any]) -> None:
        """Keep an example of the unexpected."""
        self.unexpected_count += 1
        if len(self.unexpected) < 40:
            self.unexpected.append({"kind": kind, **example})


async def fuzz(process: Process, world: World, seed: int, count: int, say: Callable[[str], None]) -> Found:
    """Send ``count`` cases, ``ABREAST`` at a time; a good request between them is answered alike each time."""
    good = whole(json.dumps({"model": world.models[0], "text": world.texts[0]}).encode(), world.token)
    found = Found(control=(await ask(process.port, good))[1])
    drawn = random.Random(seed)  # noqa: S311 - repeatable, no secret
    plan = enumerate(drawn.choices(list(KINDS), [weight for weight, _ in KINDS.values()], k=count))

    async def client(most: int) -> None:
        for number, kind in islice(plan, most):
            case = KINDS[kind][1](random.Random(f"{seed} {number}"), world)  # noqa: S311
            got, same = await run(process.port, case, good)
            found.note(kind, case, got)
            if number % EVERY == 0:
                same = await ask(process.port, good)
            if same is not None:
                found.checks += 1
                found.busy += same[0] == 503
                if same[0] != 503 and same != (200, found.control):
                    found.wrong(kind, {"control": same[0], "said": same[1][:300].decode("utf-8", "replace")})

    done = 0
    while done < count:
        step = min(WARM_UP, count - done)
        await asyncio.gather(*(client(step // ABREAST) for _ in range(ABREAST)))
        await asyncio.sleep(SETTLE)
        done += step
        found.held.append({"requests": done, **process.held()})
        say(f"{done} requests, {found.unexpected_count} unexpected, {found.held[-1]}")
    return found


async def ask(port: int, raw: bytes) -> tuple[int, bytes]:
    """Return status and body of one good request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        return await answer(reader)
    finally:
        writer.close()


async def run(port: int, case: Case, good: bytes) -> tuple[list[str], tuple[int, bytes] | None]:
    """Do what a case says. Return the statuses that came, and the answer to a good request on the same connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got: list[str] = []
    same = None
    sending = asyncio.create_task(_send(writer, case))
    try:
        async with asyncio.timeout(PATIENCE) as limit:
            if case.end in ("reset", "close") and not case.answers:
                await sending
                return got, None
            while len(got) < max(case.answers, 1):
                status, body = await answer(reader, body=case.reads)
                got.append(_judged(status, body) if case.reads else str(status))
                limit.reschedule(asyncio.get_running_loop().time() + PATIENCE)
            await sending
            if case.end == "keep" and got[-1] in ("200", "401", "404", "413", "415", "422") and not reader.at_eof():
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    writer.write(good)
                    same = await answer(reader)
    except TimeoutError:
        got.append("no answer")
    except (asyncio.IncompleteReadError, ConnectionError):
        got.append("closed")
    finally:
        sending.cancel()
        with suppress(ConnectionError, asyncio.CancelledError):
            await sending
        _leave(writer, reset=case.end == "reset")
    return got, same


async def _send(writer: asyncio.StreamWriter, case: Case) -> None:
    with suppress(ConnectionError):  # the server may end it: what it said before that is what counts
        for number, part in enumerate(case.parts):
            if number and case.pause:
                await asyncio.sleep(case.pause)
            writer.write(part)
            await writer.drain()
        if case.pause and not case.answers:
            await asyncio.sleep(case.pause)
        if case.end == "half":
            writer.write_eof()


def _leave(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:  # with a time of 0 to linger, closing is a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def answer(reader: asyncio.StreamReader, *, body: bool = True) -> tuple[int, bytes]:
    """Read one answer. Raises IncompleteReadError when the connection ends before it."""
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        status = int(head[0].split(" ")[1])
        if status != 100:
            break
    sizes = [int(line.partition(":")[2]) for line in head if line.startswith("content-length:")]
    return status, await reader.readexactly(sizes[0]) if body and sizes else b""


def _judged(status: int, body: bytes) -> str:
    """Return the status, or what is wrong with an answer of that status: errors are JSON of one form."""
    if status == 200:
        return str(status)
    try:
        error = json.loads(body)["error"]
        return str(status) if set(error) == {"code", "message"} else f"{status} of another form"
    except (ValueError, KeyError, TypeError):
        return f"{status} without JSON"
