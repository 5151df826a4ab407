"""The page in a real browser: nothing overflows, nothing is fetched, dark is dark. Skipped without Chromium."""

import dataclasses
import json
import re
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from sample_results import a_failure, sample_results

from edgecompress.bench.results import read
from edgecompress.report import html

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DARK, LIGHT = 0, 1  # of Blink's preferred colour scheme
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")

# A frame of the wanted width: a headless window may be wider than it was asked to be.
FRAME = """<!doctype html><link rel="icon" href="data:,">
<iframe style="width:{width}px;height:3000px;border:0" src="page.html"></iframe>
<script>addEventListener("load", () => {{
  const frame = document.querySelector("iframe"), page = frame.contentDocument, seen = frame.contentWindow;
  const root = page.documentElement, style = seen.getComputedStyle(page.body);
  const plots = [...page.querySelectorAll("svg")], texts = [...page.querySelectorAll("svg text")];
  const box = one => one.getBoundingClientRect();
  const size = text => parseFloat(seen.getComputedStyle(text).fontSize) * box(text.ownerSVGElement).width
    / text.ownerSVGElement.viewBox.baseVal.width;
  const outside = (a, b) => a.left < b.left - 1 || a.right > b.right + 1
    || a.top < b.top - 1 || a.bottom > b.bottom + 1;
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
  const pairs = boxes => boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => meet(a, b)));
  document.body.dataset.found = encodeURIComponent(JSON.stringify({{
    wide: root.scrollWidth, window: root.clientWidth, ink: style.color, paper: style.backgroundColor,
    fetched: seen.performance.getEntriesByType("resource").length,
    least: Math.min(...texts.map(size)), plots: plots.length,
    label: seen.getComputedStyle(texts[0]).fill, bad: seen.getComputedStyle(page.querySelector("td.failed")).color,
    cut: texts.filter(text => outside(box(text), box(text.ownerSVGElement))).map(text => text.textContent),
    covered: plots.map(plot => pairs([...plot.querySelectorAll("text")].map(box)).length),
  }}));
}});</script>"""


@pytest.fixture(scope="module")
def page():
    return html.page(sample_results(failures=[a_failure()]))


@pytest.fixture
def browse(tmp_path):
    """Return what a browser sees of a page in a frame: figures of its layout, and the paths that it asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path)

        def log_request(self, *_):
            asked.append(self.path)

        def log_error(self, *_):
            pass  # what is missing is in `asked`

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def call(page, width, scheme=LIGHT):
            (tmp_path / "page.html").write_text(page, encoding="utf-8")
            (tmp_path / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
            flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
            flags += [f"--blink-settings=preferredColorScheme={scheme}", "--virtual-time-budget=5000", "--dump-dom"]
            address = f"http://127.0.0.1:{server.server_port}/frame.html"
            done = subprocess.run([CHROMIUM, *flags, address], capture_output=True, text=True, check=True, timeout=120)
            found = re.search(r'data-found="([^"]*)"', done.stdout)
            assert found, done.stdout[-500:] + done.stderr[-500:]
            return json.loads(unquote(found[1])), asked

        yield call
        server.shutdown()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_page_fits_reads_and_asks_for_nothing(browse, page, width, scheme):
    found, asked = browse(page, width, scheme)
    assert found["wide"] == found["window"] > width - 20  # a scroll bar takes some
    assert (asked, found["fetched"]) == (["/frame.html", "/page.html"], 0)
    assert found["least"] >= 9
    assert found["cut"] == []
    assert found["covered"] == [0] * found["plots"]
    for ink in ("ink", "label", "bad"):
        assert contrast(found[ink], found["paper"]) >= 4.5
    assert (luminance(found["paper"]) < 0.1) == (scheme == DARK)


def test_a_page_that_is_too_wide_would_be_noticed(browse, page):
    found, _ = browse(page.replace("<main>", '<main><p style="min-width:900px">wide</p>', 1), 360)
    assert found["wide"] > found["window"]


def test_a_request_would_be_noticed(browse, page):
    found, asked = browse(page.replace("<style>", '<link rel="stylesheet" href="more.css"><style>', 1), 1280)
    assert "/more.css" in asked
    assert found["fetched"] == 1


def test_labels_that_cover_one_another_or_are_cut_would_be_noticed(browse, page):
    twice = '<text x="9" y="20">one</text><text x="9" y="21">two</text><text x="-90" y="50">out</text></svg>'
    found, _ = browse(page.replace("</svg>", twice, 1), 1280)
    assert found["covered"][0] >= 1
    assert found["cut"] == ["out"]


def test_long_names_neither_widen_the_page_nor_leave_the_plots(browse, tmp_path):
    results = sample_results(failures=[a_failure()])
    long = "A_name_without_any_break_that_goes_on_and_on_and_on_and_on_to_the_end"
    text = json.dumps(dataclasses.asdict(results)).replace("student int8-tables4", long)
    path = tmp_path / "long.json"
    path.write_text(text)
    found, _ = browse(html.page(read(path)), 360)
    assert found["wide"] == found["window"]
    assert found["cut"] == []


def rgb(colour):
    return [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]


def luminance(colour):
    """Relative luminance as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in rgb(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
