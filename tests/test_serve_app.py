"""Each answer of the application, and that nothing sent to it makes it fail."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from serving import JSON, bare_service, call, drive, made_up, predict, tiny_service

from edgecompress.serve.api import ENDPOINTS
from edgecompress.serve.service import Service
from edgecompress.serve.settings import Settings

SECRET = "Zuzana Mokrá"
ERRORS = 400


def test_a_prediction(tmp_path):
    service = tiny_service(tmp_path)
    answer = predict(service, {"text": "a good film"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    (found,) = answer.json["predictions"]
    assert (answer.json["model"], found["label"]) == ("sentiment", "positive")
    assert found["probability"] == pytest.approx(service.models["sentiment"].predictor("a good film").probability)
    assert sum(found["probabilities"].values()) == pytest.approx(1)


def test_models_by_name(tmp_path):
    service = tiny_service(tmp_path, ("sentiment", "ner"))
    asked = [{"model": "ner", "text": "Ján"}, {"model": "sentiment", "text": "Ján"}, {"text": "Ján"},
             {"model": "pos", "text": "Ján"}, {"model": "sentiment", "words": [["Ján"]]}]  # fmt: skip
    answers = drive(service, lambda app: asyncio.gather(*(call(app, "POST", "/v1/predict", one) for one in asked)))
    assert [answer.status for answer in answers] == [200, 200, 422, 404, 422]
    assert answers[0].json["predictions"][0]["spans"][0]["label"] == "PER"
    assert [answer.code for answer in answers[2:]] == ["bad_request", "unknown_model", "bad_request"]
    assert "ner" in answers[2].json["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"),
    [
        ("GET", "/v1/predict", {}, b"", 405, "wrong_method"),
        ("DELETE", "/v1/models", {}, b"", 405, "wrong_method"),
        ("POST", "/", {}, b"", 405, "wrong_method"),
        ("GET", "/v1/predict/", {}, b"", 404, "unknown_path"),
        ("GET", "/v2", {}, b"", 404, "unknown_path"),
        ("POST", "/v1/predict", {}, b"{}", 415, "wrong_content_type"),
        ("POST", "/v1/predict", {"content-type": "text/plain"}, b"{}", 415, "wrong_content_type"),
        (
            "POST",
            "/v1/predict",
            {"content-type": "application/json; charset=latin-1"},
            b"{}",
            415,
            "wrong_content_type",
        ),
        ("POST", "/v1/predict", {**JSON, "content-encoding": "gzip"}, b"{}", 415, "wrong_content_type"),
        ("POST", "/v1/predict", {**JSON, "content-length": "101"}, b"{}", 413, "body_too_large"),
        ("POST", "/v1/predict", {**JSON, "content-length": "9" * 9999}, b"{}", 413, "body_too_large"),
        ("POST", "/v1/predict", JSON, b" " * 101, 413, "body_too_large"),
        ("POST", "/v1/predict", JSON, b"{", 400, "bad_json"),
        ("POST", "/v1/predict", JSON, b"\xff", 400, "bad_utf8"),
        ("POST", "/v1/predict", JSON, {"text": "12345678901"}, 422, "text_too_long"),
        ("POST", "/v1/predict", JSON, {"texts": [""] * 4}, 422, "too_many_texts"),
        ("POST", "/v1/predict", JSON, {"text": "\ud800"}, 422, "bad_text"),
    ],
)
def test_refusals(method, path, headers, body, status, code):
    service = bare_service(max_body=100, max_chars=10, max_texts=3)
    answer = drive(service, lambda app: call(app, method, path, body, headers))
    assert (answer.status, answer.code, answer.headers["content-type"]) == (status, code, "application/json")
    assert answer.json["error"]["message"]
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    "media", ["application/json", "Application/JSON ; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_content_types(media):
    assert predict(bare_service(), {"text": "a"}, {"content-type": media}).status == 200


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: one.path)
@pytest.mark.parametrize(
    ("sent", "may"),
    [
        ("", False),
        ("Bearer wrong", False),
        ("Bearer", False),
        ("Basic token", False),
        ("token", False),
        ("Bearer token2", False),
        ("Bearer tokén", False),
        ("Bearer token", True),
        ("bearer  token ", True),
    ],
)
def test_the_token(endpoint, sent, may):
    headers = {**JSON, **({"authorization": sent} if sent else {})}
    service = bare_service(token="token")
    answer = drive(service, lambda app: call(app, endpoint.method, endpoint.path, {"text": "a"}, headers))
    assert answer.status == (200 if may or not endpoint.guarded else 401)
    if answer.status == 401:
        assert (answer.code, answer.headers["www-authenticate"]) == ("unauthorized", 'Bearer realm="edgecompress"')


def test_what_the_token_guards():
    assert {one.path for one in ENDPOINTS if one.guarded} == {"/v1/predict", "/v1/models", "/metrics"}


@pytest.mark.parametrize(("given", "kept"), [("a-1.b_C", True), ("x" * 65, False), ("a\nb", False), ("é", False)])
def test_request_ids(given, kept, log):
    answer = predict(bare_service(), {"text": "a"}, {**JSON, "x-request-id": given})
    found = answer.headers["x-request-id"]
    assert (found == given) == kept
    assert len(found) == (len(given) if kept else 32)
    assert log()[-1]["id"] == found


def test_the_log_says_what_happened_but_no_text(tmp_path, log):
    service = tiny_service(tmp_path, ("ner",))
    bodies = [{"text": SECRET}, {"texts": [SECRET, SECRET]}, {"words": [SECRET.split()]}, {"txt": SECRET}]

    async def work(app):
        for body in bodies:
            await call(app, "POST", "/v1/predict", body)
        await call(app, "POST", "/v1/predict", f'{{"text": "{SECRET}'.encode())
        await call(app, "GET", f"/{SECRET}", headers={"x-request-id": SECRET})
        await call(app, "Zuzana", "/healthz")
        await call(app, "GET", "/healthz")

    drive(service, work)
    lines = log()
    assert [line["status"] for line in lines] == [200, 200, 200, 422, 400, 404, 405, 200]
    assert [line.get("texts") for line in lines[:3]] == [1, 2, 1]
    assert (lines[0]["model"], lines[0]["path"], lines[3]["code"]) == ("ner", "/v1/predict", "bad_request")
    assert (lines[5]["path"], lines[6]["method"], lines[7]["level"]) == ("other", "other", "debug")
    assert all(set(line) >= {"time", "level", "event", "id", "ms"} for line in lines)
    assert "Zuzana" not in json.dumps(lines, ensure_ascii=False)
    assert "Mokr" not in json.dumps(lines)


def test_texts_are_logged_when_asked_for(tmp_path, log):
    predict(tiny_service(tmp_path, log_text=True), {"texts": [SECRET, "b"]})
    assert log()[-1]["text"] == [SECRET, "b"]


def test_a_mistake_of_ours_is_one_answer_and_one_traceback(log):
    def broken(_texts):
        raise ZeroDivisionError("here")

    service = Service({"m": made_up(broken)}, Settings(watch=0))
    with pytest.raises(ZeroDivisionError):  # what uvicorn logs
        predict(service, {"text": "a"})
    assert (log()[-1]["status"], log()[-1]["code"]) == (500, "internal")
    logging.getLogger("uvicorn.error").error("in ASGI application", exc_info=ZeroDivisionError("here"))
    assert "ZeroDivisionError: here" in log()[-1]["traceback"]


def test_the_figures(tmp_path):
    service = tiny_service(tmp_path)

    async def work(app):
        await call(app, "POST", "/v1/predict", {"texts": ["a", "b"]})
        await call(app, "POST", "/v1/predict", b"")
        for number in range(20):
            await call(app, "GET", f"/{number}")
        return await call(app, "GET", "/metrics")

    answer = drive(service, work)
    text = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        'edgecompress_requests_total{path="/v1/predict",status="200"} 1.0',
        'edgecompress_requests_total{path="/v1/predict",status="400"} 1.0',
        'edgecompress_requests_total{path="other",status="404"} 20.0',
        'edgecompress_request_seconds_count{path="/v1/predict"} 2.0',
        'edgecompress_batch_texts_sum{model="sentiment"} 2.0',
        'edgecompress_run_seconds_count{model="sentiment"} 1.0',
        'edgecompress_texts_total{model="sentiment"} 2.0',
        'edgecompress_queue_texts{model="sentiment"} 0.0',
        "edgecompress_requests_in_flight 1.0",
    ):
        assert line in text


def test_ready_until_draining():
    service = bare_service()

    async def work(app):
        before = [await call(app, "GET", path) for path in ("/readyz", "/healthz")]
        service.draining = True
        after = [await call(app, "GET", path) for path in ("/readyz", "/healthz")]
        return before, after, await call(app, "POST", "/v1/predict", {"text": "a"})

    before, after, refused = drive(service, work)
    assert [answer.status for answer in (*before, *after)] == [200, 200, 503, 200]
    assert (refused.status, refused.code, refused.headers["connection"]) == (503, "draining", "close")
    assert not service.ready


def test_too_many_requests_at_once():
    service = bare_service(max_requests=1)

    async def work(app):
        hold = asyncio.Event()
        chunks = [b'{"text"', hold.wait, b': "a"}']
        first = asyncio.create_task(call(app, "POST", "/v1/predict", chunks=chunks))
        await asyncio.sleep(0.01)
        second = await call(app, "POST", "/v1/predict", {"text": "a"})
        hold.set()
        await first
        return second, await call(app, "POST", "/v1/predict", {"text": "a"})

    second, third = drive(service, work)
    assert (second.status, second.code, second.headers["retry-after"]) == (503, "queue_full", "1")
    assert third.status == 200


def test_a_body_that_trickles_or_breaks_off():
    service = bare_service(timeout=0.05)

    async def never():
        await asyncio.sleep(60)

    async def work(app):
        return [await call(app, "POST", "/v1/predict", chunks=chunks) for chunks in ([b"{", never], [b"{"])]

    slow, gone = drive(service, work)
    assert (slow.status, slow.code) == (408, "slow_body")
    assert (gone.status, gone.code) == (400, "incomplete_body")
    assert service.predicting == 0


def test_a_large_body_is_read_like_a_small_one():
    texts = ["x" * 9000] * 10
    answer = predict(bare_service(), {"texts": texts})
    assert [one["label"] for one in answer.json["predictions"]] == texts
