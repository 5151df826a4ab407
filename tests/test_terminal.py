import dataclasses
import io

import pytest
from rich.console import Console
from sample_results import HOST, a_failure, sample_results

from edgecompress.bench.results import Failure
from edgecompress.report.terminal import bench_tables


def render(tables, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    for table in tables:
        console.print(table)
    return console.file.getvalue()


def only(results, *metrics, **settings):
    kept = [m for m in results.measurements if m.metric in metrics and settings.items() <= m.settings.items()]
    return dataclasses.replace(results, measurements=tuple(kept))


def cells(text, subject):
    return [line.split() for line in text.splitlines() if subject in line]


@pytest.mark.parametrize("width", [80, 100])
def test_the_tables_fit_and_no_row_is_broken(width):
    text = render(bench_tables(sample_results()), width)
    assert max(map(len, text.splitlines())) <= width
    for subject in ("int8-tables4", "cut-only"):  # in quality, speed, parts of real texts, and memory
        assert text.count(f" {subject} ") == 4
    assert "AMD EPYC 9B45, 2 cores, avx2 avx512_vnni; onnxruntime 1.32.0" in " ".join(text.split())


def test_scores_stand_with_their_intervals_beside_parameters_and_file():
    lines = render(bench_tables(sample_results())[:1]).splitlines()
    at = next(index for index, line in enumerate(lines) if "int8-tables4" in line)
    assert lines[at].split() == ["student", "int8-tables4", "5.7", "4.7", "86.6", "80.6", "74.6", "68.6"]
    assert lines[at + 1].split() == ["85–89", "79–83", "73–77", "67–71"]


def test_the_speedup_is_the_measured_one_and_the_teacher_has_none():
    text = render(bench_tables(only(sample_results(), "latency_p50", "speedup", part="model", length=32)))
    assert cells(text, "teacher fp32") == [["teacher", "fp32", "25.00"]]
    assert cells(text, "student fp32") == [["student", "fp32", "3.10", "(×8.1)"]]


def test_the_headline_of_a_preset_is_what_is_shown():
    found = sample_results()
    found = dataclasses.replace(found, settings={**found.settings, "headline": "throughput"})
    titles = [str(table.title) for table in bench_tables(found)]
    assert "Throughput in texts/s, 1 thread (batch×tokens), topic model" in titles


@pytest.mark.parametrize(
    ("metric", "factor", "shown"),
    [("latency_p90", 2.0, ["6.00", "(×5.0)"]), ("throughput", 0.5, ["166.67", "(×4.2)"])],
)
def test_the_ratio_beside_a_figure_is_that_figures_own(metric, factor, shown):
    found = only(sample_results(), "speedup", metric, part="model", length=32)  # medians: ×8.1
    rows = [
        dataclasses.replace(m, value={"latency_p90": 3.0, "throughput": 1000 / 3}[metric] * factor)
        if m.metric == metric and m.subject == "student fp32"
        else m
        for m in found.measurements
    ]
    found = dataclasses.replace(found, measurements=tuple(rows), settings={**found.settings, "headline": metric})
    assert cells(render(bench_tables(found)), "student fp32")[0][2:] == shown


def test_a_failure_of_no_task_says_where_alone():
    lost = Failure("student fp32", "", "load", "it gave values that are not numbers")
    told = " ".join(render(bench_tables(sample_results(failures=[lost])), 100).split())
    assert "FAILED student fp32 (load): it gave values that are not numbers" in told


def test_a_failure_on_two_threads_leaves_the_figure_of_one():
    lost = Failure("student fp32", "topic", "1×32", "crashed (SIGSEGV)", 2)
    found = only(sample_results(failures=[lost]), "latency_p50", "speedup", part="model", length=32)
    assert cells(render(bench_tables(found), 100), "student fp32")[0] == ["student", "fp32", "3.10", "(×8.1)"]


def test_names_are_shown_as_they_are():
    found = sample_results()
    named = dataclasses.replace(found.subjects[0], name="model[v2] [/x]")
    rows = [dataclasses.replace(m, subject=named.name) for m in found.measurements if m.subject == "teacher fp32"]
    lost = Failure(named.name, "topic", "1×32", "no [/such] thing")
    odd = dataclasses.replace(found, subjects=(named,), measurements=tuple(rows), failures=(lost,))
    text = render(bench_tables(odd), 120)
    assert text.count("model[v2] [/x]") >= 4
    assert "no [/such] thing" in text


def test_what_failed_is_marked_and_told():
    lost = Failure("student fp32", "ner", "score", "crashed (SIGSEGV)")
    found = sample_results(failures=[a_failure(), lost])
    rows = [
        m
        for m in found.measurements
        if not (m.subject == "student fp32" and m.metric == "span_f1")
        and not (m.subject == "student int8-tables4" and m.settings.get("batch") == 8)
    ]
    text = render(bench_tables(dataclasses.replace(found, measurements=tuple(rows))), 100)
    assert "failed" in cells(text, "student fp32")[0]
    assert [row.count("failed") for row in cells(text, "student int8-tables4")[:2]] == [0, 1]
    told = " ".join(text.split())
    assert "FAILED student int8-tables4 (topic, 8×128): hung: no answer within 120 s" in told
    assert "FAILED student fp32 (ner, score): crashed (SIGSEGV)" in told


@pytest.mark.parametrize(("noise", "much"), [(2.5, False), (7.5, True)])
def test_noise_is_told(noise, much):
    found = sample_results()
    rows = [dataclasses.replace(m, value=noise) if m.metric == "noise" else m for m in found.measurements]
    text = render(bench_tables(dataclasses.replace(found, measurements=tuple(rows))))
    text = " ".join(text.split())
    assert f"±{noise} %" in text
    assert ("Close other programs" in text) == much


def test_nothing_measured_makes_no_table():
    assert bench_tables(dataclasses.replace(sample_results(), measurements=(), host=HOST)) == ()
