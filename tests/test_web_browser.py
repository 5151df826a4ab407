"""The page in Chromium beside the Python predictor, then without its server. Skipped where one of these is missing:

node, Chromium, and `npm install onnxruntime-web@1.30.0 @huggingface/tokenizers@0.2.0 playwright-core`, here or in the
folder that EDGECOMPRESS_NODE_MODULES names (node_modules itself).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tiny_artifact import write_artifact

import edgecompress
from edgecompress.errors import InputError
from edgecompress.runtime.predictions import Label
from edgecompress.web import vendor
from edgecompress.web.site import Wording, write_site

MODULES = Path(os.environ.get("EDGECOMPRESS_NODE_MODULES", Path(__file__).parents[1] / "node_modules"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TEXTS = [
    "", "good film", "Ján Novák, v Košice.", "don't", "KOFOLA good bad " * 9, "  bad\n\tfilm ☃", "\u200b",
    "novák novák",
]  # fmt: skip
SCRIPT = """
const { createRequire } = require("module");
const [modules, executablePath, base, texts] = process.argv.slice(1);
const { chromium } = createRequire(modules + "/x.js")("playwright-core");
const show = async (page) => {
  await page.waitForFunction(() => globalThis.edgecompress || !document.getElementById("problem").hidden);
  await page.waitForFunction(() => document.getElementById("result").childElementCount);
  return page.evaluate(async (texts) => {
    const found = [];
    for (const text of texts) found.push(await globalThis.edgecompress.predict(text));
    return { found, problem: document.getElementById("problem").textContent };
  }, JSON.parse(texts));
};
(async () => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage({ viewport: { width: 360, height: 700 } });
    const said = [], asked = [];
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(error.message));
    page.on("request", (request) => asked.push(request.url()));
    await page.goto(base + "/below/site/");
    const first = await show(page);
    await page.getByLabel("Your text").fill("Ján Novák good");
    await page.waitForFunction(() => document.getElementById("said").textContent);
    const typed = { said: await page.locator("#said").textContent(), shown: await page.locator("#result").innerText() };
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    const outside = await page.evaluate(() => fetch("data:,x").then(() => "allowed", () => "refused"));
    await page.waitForFunction(() => !document.getElementById("kept").hidden);
    const quiet = said.filter((line) => !line.includes("data:,x"));
    await page.request.get(base + "/stop");
    await page.waitForTimeout(1000);
    const gone = await page.request.get(base + "/below/site/sw.js").then(() => "still there", () => "gone");
    await page.reload();
    const again = await show(page);
    console.log(JSON.stringify({ first, typed, wide, outside, said: quiet, asked, gone, again }));
  } finally {
    await browser.close();
  }
})().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module", autouse=True)
def _needs() -> None:
    missing = [name for name, there in (("node", shutil.which("node")), ("Chromium", CHROMIUM)) if not there]
    if missing or not (MODULES / "playwright-core").is_dir():
        pytest.skip(f"needs {', '.join([*missing, 'playwright-core'])}")
    try:
        vendor.packages(MODULES)
    except InputError as error:
        pytest.skip(str(error))


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        super().do_GET()
        if self.path == "/stop":
            threading.Thread(target=self._stop).start()

    def _stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def in_browser(base: str) -> Any:
    words = ["node", "-e", SCRIPT, str(MODULES.resolve()), str(CHROMIUM), base, json.dumps(TEXTS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_python(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in edgecompress.load(folder, threads=1, batch_size=1)(TEXTS):
        if isinstance(one, Label):
            found.append(
                {"label": one.label, "probabilities": list(one.probabilities.values()), "windows": one.windows}
            )
        else:
            words = [[word.text, word.tag, word.probability] for word in one.words]
            spans = [[span.label, span.text, span.probability] for span in one.spans]
            found.append({"words": words, "spans": spans, "windows": one.windows})
    return found


def from_page(found: dict[str, Any]) -> dict[str, Any]:
    if "label" in found:
        return {name: found[name] for name in ("label", "probabilities", "windows")}
    words = [[word["text"], word["tag"], word["probability"]] for word in found["words"]]
    spans = [[span["label"], span["text"], span["probability"]] for span in found["spans"]]
    return {"words": words, "spans": spans, "windows": found["windows"]}


def close(ours: Any, theirs: Any) -> bool:
    """The same, numbers within 1e-5."""
    if isinstance(ours, float):
        return bool(abs(ours - theirs) < 1e-5)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(close(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(close, ours, theirs))
    return bool(ours == theirs)


SAID = {
    "topic": "sport, ",
    "sentiment": "positive, ",
    "ner": "Ján Novák: PER",
    "pos": "Ján NOUN, Novák NOUN, good NOUN",
}


@pytest.mark.parametrize("task", SAID)
def test_the_page_says_what_python_says_also_without_its_server(tmp_path: Path, base: str, task: str) -> None:
    artifact = write_artifact(tmp_path / "tiny", task)
    write_site(artifact, tmp_path / "www" / "below" / "site", wording=Wording("tiny"), vendor=MODULES)
    seen, wanted = in_browser(base), in_python(artifact.folder)
    for when in ("first", "again"):
        assert seen[when]["problem"] == ""
        for text, ours, theirs in zip(TEXTS, wanted, seen[when]["found"], strict=True):
            assert close(ours, from_page(theirs)), (when, text, ours, theirs)
    assert seen["typed"]["said"].startswith(SAID[task])
    assert seen["typed"]["shown"].strip()
    assert seen["wide"] <= 0
    assert seen["gone"] == "gone"
    assert seen["outside"] == "refused"  # by the page's content security policy
    assert seen["said"] == []
    assert [url for url in seen["asked"] if not url.startswith((base, "data:,"))] == []
