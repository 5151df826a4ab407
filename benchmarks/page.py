"""The page of `export-web` in headless Chromium: the first label, bytes over the wire, labels beside Python's.

    EDGECOMPRESS_NODE_MODULES=… python benchmarks/page.py demo-out/artifacts -o WORK

The folder holds `student-TASK-SCHEME` artifacts of `make demo`. node, Chromium and `npm install playwright-core
onnxruntime-web@1.30.0 @huggingface/tokenizers@0.2.0` are needed. Written to benchmarks/results/serve/page.json:

- page_first_prediction_s: from the start of the navigation until the label of the page's example stands there, in a
  browser started with an empty profile, from a plain static server on the loopback; median of the loads. Other
  programs on the same cores lengthen it: see the host's load.
- page_first_prediction_cpu_s: what all processes of the browser computed until then: other programs hardly change it.
- page_transfer_mb: bytes that the server sent for it, headers included; with gzip as static hosts do it (texts and
  WebAssembly), without it every file as it is.
- offline: the second visit, with the server gone, shows the label again.
- labels: equal to those of Python on the same texts, one a text or one a word.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from answers import demo_texts

from edgecompress.artifact import open_artifact
from edgecompress.bench.host import host
from edgecompress.files import sha256, write_json
from edgecompress.runtime.predictions import Label
from edgecompress.runtime.predictor import load
from edgecompress.tasks import TASKS
from edgecompress.web import vendor
from edgecompress.web.site import Wording, write_site

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "serve" / "page.json"
SCRIPT = Path(__file__).with_suffix(".cjs")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SQUEEZED = (".html", ".js", ".mjs", ".css", ".json", ".wasm")  # what static hosts compress: texts and WebAssembly
LIMIT = 1800  # seconds for one page


class Handler(SimpleHTTPRequestHandler):
    """Static files, as they are or gzipped; ``/sent`` tells the bytes sent so far, ``/stop`` ends the server."""

    extensions_map = {  # noqa: RUF012 - as the base class declares it
        **SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm", ".mjs": "text/javascript",
    }  # fmt: skip
    protocol_version = "HTTP/1.1"

    def __init__(self, *given: Any, sent: list[int], stopped: list[bool], squeeze: bool, **named: Any) -> None:
        self.sent, self.stopped, self.squeeze = sent, stopped, squeeze
        super().__init__(*given, **named)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer one request."""
        if self.stopped:  # a connection that was kept open
            self.close_connection = True
        elif self.path == "/sent":
            self._answer(str(sum(self.sent)).encode(), "text/plain", count=False)
        elif self.path == "/stop":
            self._answer(b"", "text/plain", count=False)
            self.stopped.append(True)
            threading.Thread(target=self.server.shutdown).start()
        else:
            self._file(Path(self.translate_path(self.path)))

    def _file(self, path: Path) -> None:
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            self.send_error(404)
            return
        small = self.squeeze and path.suffix in SQUEEZED
        content = _squeezed(path, sha256(path)) if small else path.read_bytes()
        self._answer(content, self.guess_type(path), {"Content-Encoding": "gzip"} if small else {})

    def _answer(self, body: bytes, kind: str, more: Mapping[str, str] | None = None, *, count: bool = True) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}.items():
            self.send_header(name, value)
        if count:  # a host that renames what changes may let browsers keep it; this one says nothing, as most do
            self.sent.append(len(body) + sum(map(len, getattr(self, "_headers_buffer", []))))
        self.end_headers()
        self.wfile.write(body)


@cache
def _squeezed(path: Path, digest: str) -> bytes:  # noqa: ARG001 - one entry a content
    """Return the file gzipped, once: static hosts keep it, too."""
    return gzip.compress(path.read_bytes(), 6, mtime=0)


@contextmanager
def server(folder: Path, *, squeeze: bool) -> Iterator[str]:
    """Yield the address of a static server."""
    handler = partial(Handler, directory=str(folder), sent=[], stopped=[], squeeze=squeeze)
    served = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.daemon_threads = True  # browsers keep connections open
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{served.server_port}/"
    finally:
        served.shutdown()
        thread.join()
        served.server_close()


@click.command()
@click.argument("students", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", "work", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--loads", default=7, show_default=True, type=click.IntRange(1), help="Cold ones, of every page.")
@click.option("--texts", default=200, show_default=True, type=click.IntRange(1), help="Of every task.")
@click.option("--scheme", "schemes", multiple=True, default=("fp32", "int8-tables4"), show_default=True)
def main(students: Path, work: Path, loads: int, texts: int, schemes: Sequence[str]) -> None:
    """Measure the pages of the students in STUDENTS."""
    modules, browser = needs()
    found = {(task, scheme): students / f"student-{task}-{scheme}" for scheme in schemes for task in TASKS}
    found = {names: folder for names, folder in found.items() if folder.is_dir()}
    if not found:
        raise click.ClickException(f"{students} holds no student-TASK-{schemes[0]}: run `make demo` first")
    rows = _earlier(schemes)
    for (task, scheme), folder in found.items():
        given = demo_texts(task, texts)
        site = work / f"{task}-{scheme}"
        write_site(
            open_artifact(folder), site, wording=Wording(f"Demo: {task}", given[:3]), vendor=modules, replace=True
        )
        # without compression only bytes are of interest, and those of every load are the same
        for squeeze, often, asked in ((True, loads, given), (False, 1, [])):
            with server(site, squeeze=squeeze) as url:
                seen = drive([str(modules), browser, url, str(often)], asked, site)
            rows.append(row(seen, folder, asked, squeeze=squeeze))
            click.echo(json.dumps({name: value for name, value in rows[-1].items() if name != "loads"}))
    write_json(RESULT, {**figures(rows), "rows": rows, "browser": seen["version"], "host": asdict(host())})


def _earlier(schemes: Sequence[str]) -> list[dict[str, Any]]:
    """Return what was measured before of other schemes: it stays in the result."""
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"] if RESULT.is_file() else []
    return [one for one in rows if one["scheme"] not in schemes]


def needs() -> tuple[Path, str]:
    """Return node_modules and Chromium. Raises ClickException, one line, for what is missing."""
    modules = Path(os.environ.get("EDGECOMPRESS_NODE_MODULES", ROOT / "node_modules")).resolve()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    missing = [name for name, there in (("node", shutil.which("node")), ("Chromium", browser)) if not there]
    missing += [] if (modules / "playwright-core").is_dir() else [f"playwright-core in {modules}"]
    if missing or browser is None:
        names = " ".join(f"{one.name}@{one.version}" for one in vendor.PACKAGES)
        raise click.ClickException(
            f"needs {', '.join(missing)}: run `apt-get install nodejs npm chromium` and `npm install playwright-core "
            f"{names}`, and name node_modules in EDGECOMPRESS_NODE_MODULES"
        )
    return modules, browser


def drive(words: Sequence[str], texts: Sequence[str], site: Path) -> Any:
    """Return what page.cjs saw; its screenshots are put beside the site."""
    given, shots = site.with_suffix(".texts.json"), site.with_name(f"{site.name}-shots")
    given.write_text(json.dumps(texts), encoding="utf-8")
    shots.mkdir(exist_ok=True)
    command = ["node", str(SCRIPT), *words, str(given), str(shots)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    if done.returncode:
        raise click.ClickException(f"{site.name}: {done.stderr.strip()[-600:]}")
    return json.loads(done.stdout)


def row(seen: Mapping[str, Any], folder: Path, texts: list[str], *, squeeze: bool) -> dict[str, Any]:
    """Return the figures of one page."""
    predictor = load(folder, threads=1, batch_size=1)
    cold = [one["first"] / 1000 for one in seen["cold"]]
    return {
        "task": predictor.artifact.task.name,
        "scheme": predictor.artifact.scheme,
        "gzip": squeeze,
        "first_prediction_s": round(median(cold), 3),
        "first_prediction_cpu_s": round(median(one["cpu"] for one in seen["cold"]), 2),
        "transfer_mb": round(median(one["bytes"] for one in seen["cold"]) / 1e6, 3),
        "offline": seen["gone"] and bool(seen["again"]["said"]),
        "offline_prediction_s": round(seen["again"]["first"] / 1000, 3),
        **compared(predictor(texts), seen["answers"]),
        "loads": [{"ms": round(one["first"]), "cpu_s": one["cpu"], "bytes": one["bytes"]} for one in seen["cold"]],
    }


def compared(ours: Sequence[Any], theirs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Count equal labels.

    ``moved`` is the largest difference of a probability (of a word's best one for token tasks); ``margin`` how far our
    probability of a label that differs was from theirs of its own, at most.
    """
    labels = equal = 0
    moved, margin = 0.0, 0.0
    for one, other in zip(ours, theirs, strict=True):
        pairs: list[tuple[str, float, str, float]]
        if isinstance(one, Label):
            shares = list(one.probabilities.values())
            moved = max(moved, float(np.abs(np.subtract(shares, other["probabilities"])).max()))
            pairs = [(one.label, one.probability, other["label"], other["probability"])]
        else:
            pairs = [
                (word.tag, word.probability, them["tag"], them["probability"])
                for word, them in zip(one.words, other["words"], strict=True)
            ]
        labels += len(pairs)
        for label, share, name, theirs_share in pairs:
            equal += label == name
            if label == name:
                moved = max(moved, abs(share - theirs_share))
            else:
                margin = max(margin, abs(share - theirs_share))
    return {"labels": labels, "equal": equal, "moved": round(moved, 6), "margin": round(margin, 4)}


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of the default scheme, all tasks together, and the share of equal labels by scheme."""
    own = [one for one in rows if one["scheme"] == "int8-tables4"] or rows
    squeezed, plain = ([one for one in own if one["gzip"] is way] for way in (True, False))
    return {
        "page_first_prediction_s": median(one["first_prediction_s"] for one in squeezed),
        "page_first_prediction_cpu_s": median(one["first_prediction_cpu_s"] for one in squeezed),
        "page_transfer_mb": {
            "gzip": round(median(one["transfer_mb"] for one in squeezed), 3),
            "plain": round(median(one["transfer_mb"] for one in plain), 3),
        },
        "offline": all(one["offline"] for one in rows),
        "page_label_agreement": {
            scheme: _share([one for one in rows if one["scheme"] == scheme and one["gzip"]])
            for scheme in dict.fromkeys(one["scheme"] for one in rows)
        },
    }


def _share(rows: Sequence[Mapping[str, Any]]) -> float:
    labels, equal = (sum(int(one[name]) for one in rows) for name in ("labels", "equal"))
    return round(equal / labels, 5)


if __name__ == "__main__":
    main()
