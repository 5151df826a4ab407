"""Kinds of cases below JSON: heads, lengths, chunks. See serve_kinds.py."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Mapping, Sequence

from serve_kinds import DROPPED, LIMITS, OK, Case, Maker, World, any_text, head, whole

_HEAD_LIMIT = 65_536


def good(drawn: random.Random, world: World) -> bytes:
    """Return the body of a good request."""
    return json.dumps({"model": drawn.choice(world.models), "text": any_text(drawn, world)}).encode()


def types(drawn: random.Random, world: World) -> Case:
    """Bodies of another type, or compressed."""
    body = good(drawn, world)
    fields = [
        "content-type: text/plain",
        "content-type: application/x-www-form-urlencoded",
        "content-type:",
        "content-type: application/jsonp",
        "content-type: application/json; charset=latin-1",
        "content-type: ;",
        "content-type: multipart/form-data; boundary=a",
        "content-encoding: gzip",
        "content-encoding: br",
        "content-encoding: deflate",
        "content-encoding: x",
    ]
    field = drawn.choice(fields)
    packs: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
    packed = packs.get(field.rpartition(" ")[2], bytes)
    return Case([whole(packed(body), world.token, field)], (415,))


def methods(drawn: random.Random, world: World) -> Case:
    """Methods that a path does not take, and words that are no method."""
    method = drawn.choice(
        ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "post", "GOT", "X-Y", "CONNECT", ""]
    )
    known = method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
    return Case([head(0, world.token, method=method)], (405,) if known else (400, 405), reads=method != "HEAD")


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


def chunked(drawn: random.Random, world: World) -> Case:
    """Return a body in chunks, with extensions and trailers."""
    body, parts = good(drawn, world), list[bytes]()
    while body:
        size = drawn.choice([1, 1, 7, 100, 10_000])
        parts.append(chunk(body[:size], drawn.choice([b"", b"", b";a=b", b';a="b"'])))
        body = body[size:]
    end = b"0\r\n" + drawn.choice([b"", b"x-trailer: 1\r\n"]) + b"\r\n"
    sent = b"".join([head(None, world.token, "transfer-encoding: chunked"), *parts, end])
    cuts = sorted(drawn.sample(range(1, len(sent)), 3))
    pieces = [sent[begin:stop] for begin, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    return Case(pieces, OK, pause=drawn.choice([0.0, 0.0, 0.02]))


def bad_chunks(drawn: random.Random, world: World) -> Case:
    """Chunks that are none, or that never end."""
    bad = drawn.choice(
        [
            b"zz\r\n",
            b"-1\r\na\r\n",
            b"ffffffffffffffffff\r\n",
            b"5\r\nabcdefgh\r\n",
            b"1" * 500 + b"\r\n",
            b"\r\n\r\n\r\n",
        ]
    )
    endless = [chunk(b" " * 60_000)] * 40
    start = head(None, world.token, "transfer-encoding: chunked")
    if drawn.random() < 0.1:
        return Case([start + chunk(b"{}"), b"0\r\ncontent-length: 5\r\n\r\n"], (400, 422))
    if drawn.random() < 0.2:
        return Case([start, *endless, b"0\r\n\r\n"], (413,))
    return Case([start + bad], (400,))


def content_lengths(drawn: random.Random, world: World) -> Case:
    """Lengths that are none, two of them, and lengths that are not the body's."""
    body = good(drawn, world)
    bad = drawn.choice(["-1", "1e3", "abc", "0x10", "1 2", "9" * 40, "٣", "+5", "5, 6"])
    kind = drawn.randrange(5)
    if kind == 0:
        return Case([whole(body, world.token, f"content-length: {len(body) + 1}")], (400,))
    if kind == 1:
        return Case([whole(body, world.token, "transfer-encoding: chunked")], (400,))
    if kind == 2:
        return Case([head(len(body) - 5, world.token) + body], (400,))
    if kind == 3:
        return Case([head(len(body) + 5, world.token) + body], DROPPED, end="close", answers=0)
    return Case([head(None, world.token, f"content-length: {bad}") + body], (400,))


def huge(drawn: random.Random, world: World) -> Case:
    """Bodies beyond the limit, up to a text of 10 MB: the answer comes though the body is not wanted."""
    size = drawn.choice([LIMITS["body"] + 1, 2_000_000, 10_000_000])
    body = json.dumps({"model": world.models[0], "text": drawn.choice("a0ž") * size}, ensure_ascii=False).encode()
    at = drawn.randrange(1, len(body))
    return Case([head(len(body), world.token) + body[:at], body[at:]], (413,))


def pipelined(drawn: random.Random, world: World) -> Case:
    """Several requests at once on one connection: each is answered, in order; beyond 64 the connection may end."""
    count = drawn.choice([2, 5, 20, 64, 2000])
    some = [whole(good(drawn, world), world.token) for _ in range(min(count, 5))]
    return Case(
        [b"".join(some[number % len(some)] for number in range(count))],
        (200, 503),
        min(count, 64) if count <= 64 else 0,
        end="keep" if count <= 64 else "close",
    )


def heads(drawn: random.Random, world: World) -> Case:
    """Heads beyond the limit in one field, in many, in the address; and odd fields within it."""
    body = good(drawn, world)
    size = drawn.choice([_HEAD_LIMIT, 200_000, 3_000_000])
    large = drawn.choice(["one", "many", "path", "endless", "odd", "odd"])
    if large == "one":
        return Case([whole(body, world.token, "x: " + "a" * size)], (431, *DROPPED))
    if large == "many":
        return Case([whole(body, world.token, *[f"x{number}: a" for number in range(size // 4)])], (431, *DROPPED))
    if large == "path":
        return Case([whole(body, world.token, path="/v1/predict?" + "a" * size)], (400, 431, *DROPPED))
    if large == "endless":
        return Case([head(5, world.token)[:-2] + b"x: ", *[b"a" * 60_000] * 5], (431, *DROPPED), end="close")
    odd = [
        "x:",
        "x: \t ",
        "x: " + "é" * 50,
        "expect: 200-ok",
        "x-request-id: " + "a" * 300,
        "x-request-id: \tb",
        "accept: " + "*/*," * 99,
        "cookie: a=b; c=d",
        "host: ../../etc",
        "connection: keep-alive, close",
        "referer: http://x/\u202e",
        "user-agent: ",
    ]
    return Case([whole(body, world.token, drawn.choice(odd))], OK)


def bad_heads(drawn: random.Random, world: World) -> Case:
    """Heads that are none."""
    body = good(drawn, world)
    bad = [
        b"\x00" + whole(body, world.token),
        whole(body, world.token, "x y: a"),
        whole(body, world.token, ": a"),
        whole(body, world.token, "x: a\x00b"),
        whole(body, world.token, "x: a\rb"),
        drawn.randbytes(drawn.randrange(16, 400)) + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + drawn.randbytes(80),
        b"GET / FTP/1.1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n x: a\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    ]
    return Case([drawn.choice(bad)], (400, *DROPPED), end="close")


def fields_twice(drawn: random.Random, world: World) -> Case:
    """Return the same header field twice."""
    body = good(drawn, world)
    right, wrong = f"authorization: Bearer {world.token}", "authorization: Bearer no"
    cases: list[tuple[list[str], Sequence[int]]] = [
        (["host: a", "host: b"], (200, 400)),
        (["content-type: application/json", "content-type: text/plain"], (200, 415)),
        ([wrong, right], (200, 401)),
        ([right, wrong], (200, 401)),
        ([wrong, wrong], (401,)),
        (["x-request-id: a", "x-request-id: b"], OK),
    ]
    fields, may = drawn.choice(cases)
    return Case([whole(body, world.token, *fields)], may)


def tokens(drawn: random.Random, world: World) -> Case:
    """No token, a wrong one, and nearly the right one, on each guarded path."""
    path = drawn.choice(["/v1/predict", "/v1/models", "/metrics"])
    body = good(drawn, world) if path == "/v1/predict" else b""
    right = world.token
    given = drawn.choice(
        [
            "",
            "Bearer",
            f"Bearer {right[:-1]}",
            f"Bearer {right}x",
            f"Basic {right}",
            right,
            "Bearer " + "a" * 9000,
            f"Bearer {right.upper()}",
            "Bearer ž",
        ]
    )
    more = {"path": path, "method": "POST" if path == "/v1/predict" else "GET"}
    return Case([whole(body, world.token, f"authorization: {given}", **more)], (401,))


def paths(drawn: random.Random, world: World) -> Case:
    """Ways out of the served paths, and addresses that are none."""
    up = drawn.choice(
        ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..\\", "%252e%252e%252f", "..;/", "%c0%ae%c0%ae/", "....//"]
    )
    start = drawn.choice(["/", "//", "/docs/", "/v1/", "/v1/predict/", "/v1/models/", "/openapi.json/", "/%00"])
    path = (
        start + up * drawn.randrange(1, 9) + drawn.choice(["etc/passwd", "proc/self/environ", "model.onnx", "%00", ""])
    )
    return Case([whole(b"", world.token, method="GET", path=path)], (404, 400))


def others(drawn: random.Random, world: World) -> Case:
    """Return the other paths, with and without a body."""
    path = drawn.choice(
        [
            "/v1/models",
            "/healthz",
            "/readyz",
            "/metrics",
            "/openapi.json",
            "/docs",
            "/",
            "/healthz?a=b",
            "http://localhost/healthz",
        ]
    )
    return Case([whole(drawn.choice([b"", b"{}", b"x" * 3000]), world.token, method="GET", path=path)], OK)


def upgrades(drawn: random.Random, world: World) -> Case:
    """Protocols that the server does not speak: it answers in the one that it does, and closes."""
    to = drawn.choice(["websocket", "h2c", "TLS/1.2"])
    return Case([whole(good(drawn, world), world.token, "connection: Upgrade", f"upgrade: {to}")], OK, end="close")


def versions(drawn: random.Random, world: World) -> Case:
    """HTTP/1.0, a kept connection, an answer that must wait for 100 Continue."""
    body = good(drawn, world)
    sent = whole(body, world.token, *drawn.choice([[], ["connection: close"], ["connection: keep-alive"]]))
    if drawn.random() < 0.5:
        return Case([sent.replace(b"HTTP/1.1", b"HTTP/1.0", 1)], OK, end="close")
    return Case([head(len(body), world.token, "expect: 100-continue"), body], OK, pause=0.05)


WIRE: Mapping[str, tuple[float, Maker]] = {
    "content types and compression": (5, types),
    "methods": (4, methods),
    "chunks": (5, chunked),
    "bad chunks": (3, bad_chunks),
    "content lengths": (4, content_lengths),
    "huge bodies": (1.5, huge),
    "pipelining": (2, pipelined),
    "large and odd heads": (5, heads),
    "heads that are none": (5, bad_heads),
    "header fields twice": (2, fields_twice),
    "tokens": (6, tokens),
    "path traversal": (6, paths),
    "other paths": (4, others),
    "upgrades": (1, upgrades),
    "versions": (3, versions),
}
