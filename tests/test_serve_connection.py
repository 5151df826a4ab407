"""What may happen around requests, on real sockets: heads, waiting, too many, too much at once."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from contextlib import closing

import pytest
import uvicorn
from serving import bare_service

from edgecompress.serve.app import build
from edgecompress.serve.connection import Guard
from edgecompress.serve.refusal import MAX_HEAD
from edgecompress.serve.server import config_of

BODY = b'{"text": "a"}'
FIELDS = b"host: x\r\ncontent-type: application/json\r\n"
GOOD = b"POST /v1/predict HTTP/1.1\r\n%scontent-length: %d\r\n\r\n%s" % (FIELDS, len(BODY), BODY)
HEALTH = b"GET /healthz HTTP/1.1\r\n\r\n"


def on_sockets(work, seconds=0.0, **limits):
    """Run ``work(port, service)`` in a thread beside a listening server; the clock of its sweeps can be set forward."""
    service = bare_service(**limits)
    guard = Guard(service.settings, service.metrics)

    async def main():
        config = uvicorn.Config(build(service), lifespan="on", log_config=None, access_log=False, ws="none", http=guard)
        server = uvicorn.Server(config)
        with closing(socket.create_server(("127.0.0.1", 0))) as bound:
            serving = asyncio.create_task(server._serve(sockets=[bound]))
            while not server.started:
                await asyncio.sleep(0.01)

            def late():
                for connection in list(guard._open):
                    connection.look(0.0)
                    connection.look(seconds)

            loop = asyncio.get_running_loop()
            found = await asyncio.to_thread(work, bound.getsockname()[1], lambda: loop.call_soon_threadsafe(late))
            server.should_exit = True
            await serving
        return found

    found = asyncio.run(main())
    assert not guard._open
    return found, service.metrics._registry


def connect(port):
    return socket.create_connection(("127.0.0.1", port), 10)


def everything(client):
    """All that comes until the server closes."""
    found = b""
    try:
        while part := client.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


def one(client):
    """Status and JSON of the next answer."""
    found = b""
    while b"\r\n\r\n" not in found:
        part = client.recv(1)
        assert part, found
        found += part
    length = next(
        int(line.split(b":")[1]) for line in found.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    body = b""
    while len(body) < length:
        body += client.recv(length - len(body))
    return int(found.split()[1]), json.loads(body)


def ended(registry, reason):
    return registry.get_sample_value("edgecompress_connections_ended_total", {"reason": reason})


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nx: ", b"GET /", b"GET / HTTP/1.1\r\n"])
def test_a_head_without_end_is_refused(start):
    def work(port, _late):
        with closing(connect(port)) as client:
            try:
                client.sendall(start)
                for _ in range(3000):
                    client.sendall(b"a" * 10_000 if start[-1:] != b"\n" else b"a: b\r\n" * 2000)
            except OSError:
                return True
            return everything(client)

    found, registry = on_sockets(work)
    assert found is True or b" 431 " in found
    assert ended(registry, "head_too_large") == 1


def test_a_whole_head_that_is_too_large_is_refused_as_json():
    def work(port, _late):
        answers = []
        for size in (MAX_HEAD // 2, MAX_HEAD):
            with closing(connect(port)) as client:
                client.sendall(GOOD.replace(b"host: x", b"x: " + b"a" * size))
                answers.append(one(client))
        return answers

    (fine, refused), _ = on_sockets(work)
    assert fine[0] == 200
    assert (refused[0], refused[1]["error"]["code"]) == (431, "head_too_large")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(b"", "slow_head"), (b"GET / HT", "slow_head"), (HEALTH + b"\r\n", "idle"), (HEALTH + b"GET", "slow_head"),
     (b"POST / HTTP/1.1\r\ncontent-length: 99\r\n\r\n{", "idle")],
)  # fmt: skip
def test_a_connection_on_which_nothing_moves_is_ended(sent, reason):
    def work(port, late):
        with closing(connect(port)) as client:
            client.sendall(sent)
            if b"\r\n\r\n" in sent:
                assert one(client)[0] in (200, 405)
            else:
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    client.recv(1)
                client.settimeout(10)
            late()
            return everything(client)

    found, registry = on_sockets(work, seconds=31.0)
    assert found == b""
    assert ended(registry, reason if sent else "idle") == 1


def test_a_request_that_is_being_answered_is_left_alone():
    def work(port, late):
        with closing(connect(port)) as client:
            client.sendall(GOOD)
            time.sleep(0.3)  # until it has been read
            late()
            return one(client)

    assert on_sockets(work, seconds=31.0, max_wait_ms=1000)[0][0] == 200


def test_an_answer_that_nobody_reads_ends():
    def work(port, late):
        with closing(socket.socket()) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            text = json.dumps({"texts": ["x" * 9000] * 100}).encode()
            request = GOOD.replace(b"length: %d" % len(BODY), b"length: %d" % len(text)).replace(BODY, text)
            client.sendall(request * 8)
            time.sleep(1.0)  # until it is stuck
            late()
            time.sleep(0.2)
            return everything(client)

    found, registry = on_sockets(work, seconds=31.0)
    assert ended(registry, "unread_answer") == 1
    assert len(found) < 8 * 900_000


def test_one_connection_too_many_is_told():
    def work(port, _late):
        with closing(connect(port)) as first, closing(connect(port)) as second:
            for client in (first, second):
                client.sendall(HEALTH)
                assert one(client)[0] == 200
            with closing(connect(port)) as third:
                head, _, body = everything(third).partition(b"\r\n\r\n")
                assert b"retry-after: 1" in head
                refused = int(head.split()[1]), json.loads(body)
            first.close()
            for _ in range(500):
                with closing(connect(port)) as fourth:
                    fourth.sendall(HEALTH)
                    try:
                        again = one(fourth)
                    except ConnectionResetError:
                        continue
                    if again[0] == 200:
                        return refused, again
        return refused, again

    ((status, body), again), registry = on_sockets(work, max_connections=2)
    assert (status, body["error"]["code"], again[0]) == (503, "queue_full", 200)
    assert ended(registry, "too_many") >= 1


def test_pipelined_requests_are_answered_in_order_up_to_a_limit():
    def work(port, _late):
        with closing(connect(port)) as client:
            client.sendall((GOOD + HEALTH) * 20)
            some = [one(client) for _ in range(40)]
        with closing(connect(port)) as client:
            client.sendall(HEALTH * 2000)
            return some, everything(client)

    (some, many), registry = on_sockets(work)
    assert [status for status, _ in some] == [200] * 40
    assert all(("predictions" in body) == (number % 2 == 0) for number, (_, body) in enumerate(some))
    assert many.count(b"HTTP/1.1 200") < 2000
    assert ended(registry, "pipelined") == 1


@pytest.mark.parametrize("name", [b"upgrade", b"Upgrade"])
def test_an_offered_protocol_is_left_alone_and_the_body_kept(name):
    def work(port, _late):
        with closing(connect(port)) as client:
            offer = b"connection: Upgrade, HTTP2-Settings\r\n%s: h2c\r\nhttp2-settings: AA\r\n" % name
            client.sendall(GOOD.replace(FIELDS, FIELDS + offer))
            return one(client), client.sendall(GOOD), one(client)

    (first, _, second), _ = on_sockets(work)
    assert first == second
    assert (first[0], first[1]["predictions"][0]["label"]) == (200, "a")


def test_the_sender_of_a_large_body_reads_why_it_is_refused():
    def work(port, _late):
        with closing(connect(port)) as client:
            large = b'{"text": "%s"}' % (b"a" * 10_000_000)
            client.sendall(GOOD.replace(b"length: %d" % len(BODY), b"length: %d" % len(large)).replace(BODY, large))
            refused = one(client)
            client.sendall(GOOD)
            return refused, one(client)

    ((status, body), after), _ = on_sockets(work)
    assert (status, body["error"]["code"], after[0]) == (413, "body_too_large", 200)


def test_a_refused_body_without_end_is_not_read_for_ever():
    def work(port, _late):
        with closing(connect(port)) as client:
            client.sendall(b"POST /v1/predict HTTP/1.1\r\n%stransfer-encoding: chunked\r\n\r\n" % FIELDS)
            try:
                for _ in range(400):
                    client.sendall(b"2000\r\n%s\r\n" % (b" " * 0x2000))
            except OSError:
                return b""
            return everything(client)

    found, registry = on_sockets(work, max_body=1000)
    assert found.count(b"HTTP/1.1") <= 1
    assert ended(registry, "endless_body") == 1


def test_resets_leave_nothing_behind():
    def work(port, _late):
        for end in range(0, len(GOOD), 7):
            client = connect(port)
            client.sendall(GOOD[:end])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        with closing(connect(port)) as client:
            client.sendall(GOOD)
            return one(client)

    assert on_sockets(work)[0][0] == 200


def test_who_ends_an_idle_connection_is_the_guard():
    """uvicorn would after 5 seconds, and a proxy that takes the connection for an open one sends its next request."""
    service = bare_service(timeout=60.5)
    config = config_of(service, Guard(service.settings, service.metrics))
    assert config.timeout_keep_alive > 60.5 + 1  # the guard looks once a second
