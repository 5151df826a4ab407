import io

import pytest
from rich.console import Console

from edgecompress.records import Host, Measurement
from edgecompress.report.terminal import bench_table

HOST = Host("AMD EPYC 9B45", 2, ("avx2", "avx512_vnni"), 8.0, "Linux 6", "3.11.7", {"onnxruntime": "1.32.0"})
SUBJECTS = ("xlm-r-base teacher", "student fp32", "student dynamic-int8")
SHAPES = ((1, 32), (1, 128), (8, 128))
HEADLINES = {"topic": "macro_f1", "sentiment": "macro_f1", "ner": "span_f1", "pos": "accuracy"}


def measurements():
    for rank, subject in enumerate(SUBJECTS, 1):
        for task, metric in HEADLINES.items():
            yield Measurement(subject, task, "parameters", 278e6 / rank, "parameters")
            yield Measurement(subject, task, "model_bytes", 1112e6 / rank, "bytes")
            yield Measurement(subject, task, metric, 90 - rank, "%")
        for batch, length in SHAPES:
            settings = {"batch": batch, "length": length, "threads": 1}
            for metric in ("latency_p50", "latency_p90"):
                yield Measurement(subject, "", metric, 120.0 * batch / rank, "ms", settings)


def render(tables, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    for table in tables:
        console.print(table)
    return console.file.getvalue()


def rows(text, subject):
    return [line.replace("│", " ").split() for line in text.splitlines() if subject in line]


@pytest.mark.parametrize("width", [80, 100])
def test_the_tables_fit_and_no_cell_is_broken(width):
    text = render(bench_table(list(measurements()), HOST), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert rows(text, "student fp32") == [
        ["student", "fp32", "139.0", "556.0", "88.0", "88.0", "88.0", "88.0"],
        ["student", "fp32", "60.00", "(×2.0)", "60.00", "(×2.0)", "480.00", "(×2.0)"],
    ]
    assert [len(row) for row in rows(text, "teacher")] == [8, 5]


def test_the_teacher_comes_first_and_the_host_last():
    text = render(bench_table(list(measurements()), HOST), 100)
    places = [text.index(subject) for subject in SUBJECTS]
    assert places == sorted(places)
    assert text.rstrip().endswith("AMD EPYC 9B45, 2 cores, avx2 avx512_vnni; onnxruntime 1.32.0")


def test_what_was_not_measured_is_a_dash():
    some = [
        m for m in measurements() if m.subject == SUBJECTS[0] or (m.task != "ner" and m.settings.get("length") != 32)
    ]
    text = render(bench_table(some, HOST), 100)
    assert rows(text, "student fp32")[0][6] == "–"
    assert rows(text, "student fp32")[1][2] == "–"


def test_each_number_of_threads_has_its_table():
    speed = [
        Measurement("teacher", "", "latency_p50", 10.0, "ms", {"batch": 1, "length": 32, "threads": threads})
        for threads in (4, 1)
    ]
    assert [table.title for table in bench_table(speed, HOST)] == [
        "Median latency in ms, 1 thread (batch×tokens)",
        "Median latency in ms, 4 threads (batch×tokens)",
    ]


def test_nothing_measured_is_no_table():
    assert bench_table([], HOST) == ()
