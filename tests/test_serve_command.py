"""The whole command in a process of its own: signals, sockets, and bad command lines."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager

import pytest
from test_serve_reload import opposite, swap
from tiny_artifact import write_artifact

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CODE = "from edgecompress.cli import main; main()"
COMMAND = [sys.executable, "-W", "error", "-c", CODE, "serve"]


@contextmanager
def serving(folder, *options, **environment):
    """A server on a free port: yield its process and the port; its log is in ``folder``/log."""
    variables = {**{name: value for name, value in os.environ.items() if name != "EDGECOMPRESS_TOKEN"}, **environment}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, str(folder / "m"), "--port", "0", "--threads", "1", *options],
            stdout=subprocess.PIPE, stderr=log, text=True, env=variables,
        )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line, (folder / "log").read_text()
        yield process, int(re.search(r":(\d+) serves m", line)[1])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(port, method="POST", path="/v1/predict", body=None):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, path, json.dumps(body or {"text": "good"}), {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def events(folder):
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


def wait_for(what, seconds=20):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_was_accepted(tmp_path, number):
    write_artifact(tmp_path / "m")
    with serving(tmp_path, "--max-wait-ms", "1500") as (process, port):
        assert ask(port, "GET", "/readyz")[0] == 200
        found = []
        thread = threading.Thread(target=lambda: found.append(ask(port)))
        thread.start()
        time.sleep(0.5)
        process.send_signal(number)
        wait_for(lambda: ask(port, "GET", "/readyz")[0] == 503, 1)
        assert ask(port, "GET", "/healthz")[0] == 200
        assert ask(port)[1]["error"]["code"] == "draining"
        thread.join()
        assert process.wait(10) == 0
    ((status, answer),) = found
    assert (status, answer["predictions"][0]["label"]) == (200, "positive")
    assert [line["event"] for line in events(tmp_path)][-1] == "stopped"
    assert next(line for line in events(tmp_path) if line["event"] == "draining")["requests"] == 1


def test_an_answer_that_is_being_sent_is_sent_whole(tmp_path):
    """A client that reads slowly has not got it when the last prediction is made."""
    write_artifact(tmp_path / "m", "pos")
    with (
        serving(tmp_path, "--drain", "60", "--max-chars", "1000000") as (process, port),
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection,
    ):
        body = json.dumps({"texts": ["good film " * 80] * 250})
        connection.request("POST", "/v1/predict", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        first = answer.read(1000)
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: "draining" in (tmp_path / "log").read_text())
        time.sleep(1.5)  # longer than uvicorn waits for connections
        whole = first + answer.read()
        connection.close()
        assert process.wait(10) == 0
    assert len(whole) == int(answer.headers["content-length"]) > 2_000_000
    assert len(json.loads(whole)["predictions"]) == 250


def test_stopping_has_a_limit(tmp_path):
    write_artifact(tmp_path / "m")
    with serving(tmp_path, "--max-wait-ms", "60000", "--drain", "0.2") as (process, port):
        found = []
        thread = threading.Thread(target=lambda: found.append(ask(port)))
        thread.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        thread.join()
    ((status, answer),) = found
    assert (status, answer["error"]["code"]) == (503, "draining")
    limit = next(line for line in events(tmp_path) if line["event"] == "drain limit reached")
    assert (limit["level"], limit["abandoned"]) == ("error", 1)


def test_asked_twice_it_does_not_wait(tmp_path):
    write_artifact(tmp_path / "m")
    with (
        serving(tmp_path, "--max-wait-ms", "60000", "--drain", "60") as (process, port),
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection,
    ):
        connection.request("POST", "/v1/predict", b'{"text": "a"}', {"content-type": "application/json"})
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: ask(port, "GET", "/readyz")[0] == 503)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_it_needs_no_torch():
    code = "import sys; sys.modules.update(torch=None, transformers=None, onnx=None); import edgecompress.serve.server"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_hangup_and_watch_load_again(tmp_path):
    write_artifact(tmp_path / "m")
    with serving(tmp_path, "--watch", "0") as (process, port):
        assert ask(port)[1]["predictions"][0]["label"] == "positive"
        swap(tmp_path / "m", rows=opposite())
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: ask(port)[1]["predictions"][0]["label"] == "negative")
    with serving(tmp_path, "--watch", "0.1") as (_, port):
        swap(tmp_path / "m")
        wait_for(lambda: ask(port)[1]["predictions"][0]["label"] == "positive")


def test_the_log_is_json_and_says_when_nobody_is_kept_out(tmp_path):
    write_artifact(tmp_path / "m")
    for host, token, warned in (("0.0.0.0", "", True), ("0.0.0.0", "t", False), ("127.0.0.1", "", False)):  # noqa: S104
        variables = {"EDGECOMPRESS_TOKEN": token} if token else {}
        with serving(tmp_path, "--host", host, **variables) as (_, port):
            assert ask(port)[0] == (401 if token else 200)
        lines = events(tmp_path)
        assert any(line["event"] == "no token" for line in lines) == warned
        assert any(line["event"] == "listening" and str(port) in line["address"] for line in lines)


def test_raw_bytes_that_are_no_http_do_not_end_it(tmp_path):
    write_artifact(tmp_path / "m")
    with serving(tmp_path) as (process, port):
        for raw in (
            b"\0\xff\r\n\r\n",
            b"GET / FTP/1.1\r\n\r\n",
            b"POST /v1/predict HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        ):
            with closing(socket.create_connection(("127.0.0.1", port), 10)) as client:
                client.sendall(raw)
                head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 400")
                assert b"content-type: application/json" in head
                assert json.loads(body)["error"]["code"] == "bad_http"
        assert ask(port)[0] == 200
        assert process.poll() is None
    assert not [line for line in events(tmp_path) if "traceback" in line]


def refused(*arguments, **environment):
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_bad_command_lines_get_one_line(tmp_path):
    write_artifact(tmp_path / "m")
    write_artifact(tmp_path / "other/m")
    (tmp_path / "broken").mkdir()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        cases = [
            ((tmp_path / "m", "--port", port), {}, f"port {port}: it is in use: give another --port"),
            ((tmp_path / "m", "--host", "no.such.host.invalid"), {}, "no address that can be resolved"),
            ((tmp_path / "m", "--host", "203.0.113.1"), {}, "no such address: give another --host"),
            ((tmp_path / "broken", "--port", 0), {}, "holds no edgecompress-artifact.json"),
            ((tmp_path / "none", "--port", 0), {}, "is not a folder"),
            ((tmp_path / "m", tmp_path / "other/m"), {}, "two artifacts are called 'm'"),
            ((tmp_path / "m", "--queue", 1), {}, "--queue 1 is below --max-texts 256"),
            ((tmp_path / "m",), {"EDGECOMPRESS_TOKEN": " "}, "empty token"),
        ]
        for arguments, environment, says in cases:
            code, said = refused(*arguments, **environment)
            assert (code, said.count("\n"), says in said) == (2, 1, True), said


def test_two_of_one_name_are_told_apart(tmp_path):
    write_artifact(tmp_path / "m")
    write_artifact(tmp_path / "other/m", "ner")
    with serving(tmp_path, f"ner={tmp_path}/other/m") as (_, port):
        assert [one["name"] for one in ask(port, "GET", "/v1/models")[1]["models"]] == ["m", "ner"]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")
def test_the_page_finds_the_models_in_a_browser(tmp_path):
    write_artifact(tmp_path / "m")
    with serving(tmp_path) as (_, port):
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=5000",
            f"--user-data-dir={tmp_path}/p",
        ]
        done = subprocess.run(
            [CHROMIUM, *flags, "--dump-dom", f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True,
            timeout=60,
        )  # fmt: skip
    assert '<option value="m">m (sentiment)</option>' in done.stdout
