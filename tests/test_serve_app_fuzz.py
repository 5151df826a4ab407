"""Nothing that is sent to the application makes it fail."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from serving import call, drive, tiny_service

from edgecompress.serve.api import ENDPOINTS
from edgecompress.serve.refusal import REFUSALS

ERRORS = 400


def a_value(drawn, depth=0):
    plain = [None, True, 0, -1.5, 1e308, "", "good film", "\ud800", "\0", "ž" * 40, "🙂", [], {}, 10**400]
    kind = drawn.randrange(4 if depth < 3 else 2)
    if kind < 2:
        return drawn.choice(plain)
    several = [a_value(drawn, depth + 1) for _ in range(drawn.randrange(5))]
    return several if kind == 2 else {drawn.choice(["text", "texts", "words", "model", "x"]): one for one in several}


def a_body(drawn):
    kind = drawn.randrange(5)
    if kind == 0:
        return drawn.randbytes(drawn.randrange(60))
    names = drawn.sample(["text", "texts", "words", "model", "\udfff"], drawn.randrange(1, 4))
    good = {"text": "good film", "texts": ["good", ""], "words": [["a", "b"]], "model": "sentiment"}
    data = {name: good.get(name, 1) if drawn.random() < 0.5 else a_value(drawn) for name in names}
    body = json.dumps(data if kind < 4 else a_value(drawn), ensure_ascii=drawn.random() < 0.5)
    raw = bytearray(body.encode("utf-8", "surrogatepass"))
    for _ in range(drawn.randrange(3) if kind == 1 else 0):  # damage a byte or two
        if raw:
            raw[drawn.randrange(len(raw))] = drawn.randrange(256)
    return bytes(raw[: drawn.randrange(len(raw) + 1)] if kind == 2 else raw)


def a_request(drawn):
    often = drawn.random() < 0.85
    path = "/v1/predict" if often else drawn.choice([*(one.path for one in ENDPOINTS), "/x", "//", "/\udcff", "/%00"])
    method = "POST" if often else drawn.choice(["GET", "HEAD", "PUT", "OPTIONS", "PATCH", "X Y", ""])
    media = drawn.choice(["application/json"] * 8 + ["", "text/html", ";", "application/json;;charset=utf-8;"])
    headers = {"content-type": media}
    if drawn.random() < 0.2:
        extra = drawn.choice(["content-length", "content-encoding", "x-request-id", "authorization", "expect"])
        headers[extra] = drawn.choice(["", "-1", "1e9", "²", "gzip", "\xff\x00", "9" * 5000, "a" * 300])
    body = a_body(drawn)
    cuts = [body[:3], body[3:]] if drawn.random() < 0.1 else None  # and then the client leaves
    return method, path, body, headers, cuts


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_is_sent_makes_it_fail(tmp_path, log, seed):
    drawn = random.Random(seed)
    service = tiny_service(
        tmp_path, ("sentiment", "ner") if seed % 2 else ("ner",), max_body=300, max_chars=20, max_texts=3
    )
    requests = [a_request(drawn) for _ in range(1000)]

    async def work(app):
        answers = []
        for begin in range(0, len(requests), 20):
            some = requests[begin : begin + 20]
            answers += await asyncio.gather(*(call(app, *rest, chunks=cuts) for *rest, cuts in some))
        return answers

    answers = drive(service, work)
    seen = set()
    for request, answer in zip(requests, answers, strict=True):
        assert answer.status < 500 or answer.status == 503, (request, answer)
        seen.add(answer.status)
        if answer.status >= ERRORS and request[0] != "HEAD":
            assert REFUSALS[answer.code][0] == answer.status, (request, answer)
    assert seen >= {200, 400, 404, 405, 413, 415, 422}
    lines = log()
    assert len(lines) == len(requests)
    assert not [line for line in lines if "traceback" in line or line["level"] in ("error", "critical")]
