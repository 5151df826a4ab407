import dataclasses
import re
from html.parser import HTMLParser

import pytest
from sample_results import a_failure, sample_results

from edgecompress.bench.results import Failure
from edgecompress.errors import MissingExtraError
from edgecompress.report import html

VOID = {"meta", "link", "br", "img"}


class Reader(HTMLParser):
    """Collects tags and attributes, and checks that every element is closed in order."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def page():
    return html.page(sample_results(failures=[a_failure()]))


def test_sections_come_in_order_and_every_link_leads_somewhere(page):
    tags = read(page).tags
    sections = [attrs["id"] for tag, attrs in tags if tag == "section"]
    order = ["quality", "tradeoff", "latency", "size", "memory", "training", "history", "machine", "failures"]
    assert sections == order
    assert [attrs["href"] for tag, attrs in tags if tag == "a"] == [f"#{name}" for name in order]


def test_the_page_asks_for_nothing_outside(page):
    for tag, attrs in read(page).tags:
        assert tag not in {"script", "img", "iframe", "object", "embed"}
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attrs.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"@import|@font-face|https?://", page)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_the_same_results_give_the_same_bytes(page):
    assert html.page(sample_results(failures=[a_failure()])) == page


def test_ids_are_there_once(page):
    ids = [attrs["id"] for _, attrs in read(page).tags if "id" in attrs]
    assert len(ids) == len(set(ids)) > 20


def test_every_plot_has_a_name_and_a_caption(page):
    tags = read(page).tags
    drawn = [attrs for tag, attrs in tags if tag == "svg"]
    assert len(drawn) == 10
    assert all(attrs["role"] == "img" and len(attrs["aria-label"]) > 20 for attrs in drawn)
    assert sum(tag == "figcaption" for tag, _ in tags) == len(drawn)


def test_failed_cells_and_the_box_show_the_failure(page):
    assert '<td class="failed">failed</td>' in page
    box = page[page.index('<section id="failures"') :]
    assert "hung: no answer within 120 s, the process was ended" in box
    assert "student int8-tables4" in box


def test_without_failures_there_is_no_box():
    page = html.page(sample_results())
    assert 'id="failures"' not in page
    assert 'class="failed"' not in page


def test_what_users_wrote_is_text_and_never_markup():
    evil = "<script>alert(1)</script>"
    failure = Failure("teacher fp32", "", "load", f"{evil} & more")
    page = html.page(sample_results(name=evil, failures=[failure]))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page


def test_results_with_nothing_in_them_say_so():
    results = dataclasses.replace(sample_results(), subjects=(), measurements=())
    text = " ".join("".join(read(html.page(results)).text).split())
    for said in (
        "No student has a score",
        "No scores were measured.",
        "No latency was measured.",
        "No file was taken apart.",
        "Neither time to start nor memory was measured.",
    ):
        assert said in text
    assert "Training" not in text


def test_a_subject_without_any_figure_is_still_a_row():
    results = sample_results()
    rows = tuple(m for m in results.measurements if m.subject != "cut-only fp32")
    page = html.page(dataclasses.replace(results, measurements=rows))
    assert page.count("</span>cut-only fp32<small>baseline</small>") == 5  # one in each table of figures


def test_a_figure_and_its_unit_stay_in_one_line(page):
    assert "4.7\N{NO-BREAK SPACE}MB" in page
    assert "93.5\N{NO-BREAK SPACE}% of" in page


def test_a_missing_library_is_one_line(monkeypatch):
    monkeypatch.setattr("edgecompress.extras.is_there", lambda module: module != "jinja2")
    with pytest.raises(MissingExtraError, match=r"this needs jinja2: pip install '\.\[report\]'"):
        html.page(sample_results())
