import dataclasses

import pytest
from sample_results import a_failure, sample_results

from edgecompress.bench.results import Failure
from edgecompress.records import Measurement
from edgecompress.report import digest, speed, tables
from edgecompress.report.markdown import markdown
from edgecompress.report.memory import memory_tables
from edgecompress.report.words import counted, digits, listed, megabytes, shortened


def texts(table, subject):
    return [cell.text for cell in table.rows[subject]]


def column(table, name, subject):
    return table.rows[subject][[head.split("\n")[0] for head in table.columns].index(name)]


def without(results, drop):
    return dataclasses.replace(results, measurements=tuple(m for m in results.measurements if not drop(m)))


def test_quality_rows_keep_the_order_and_hold_the_figures():
    table = tables.quality_table(sample_results())
    assert list(table.rows) == ["teacher fp32", "student fp32", "student int8-tables4", "cut-only fp32"]
    assert texts(table, "teacher fp32") == ["92.0", "86.0", "80.0", "74.0", "–", "118", "29.3"]
    assert texts(table, "student int8-tables4") == ["86.6", "80.6", "74.6", "68.6", "6.5", "4.7", "5.7"]
    score = column(table, "topic F1", "student int8-tables4")
    assert score.detail == "84.6 to 88.6"
    assert score.title == "−5.4 points beside the teacher (−6.4 to −4.4); 500 examples"


def test_tasks_come_from_the_results_under_their_own_names():
    rows = [Measurement("teacher fp32", "slk-topic", "macro_f1", 50.0, "%", {"kind": "topic"})]
    table = tables.quality_table(dataclasses.replace(sample_results(), measurements=tuple(rows)))
    assert table.columns == ("slk-topic F1\n%", "mean drop\n%", "file\nMB", "parameters\nM")


def test_a_missing_score_is_a_dash_with_a_note_and_the_drop_says_of_how_many_tasks():
    found = without(sample_results(), lambda m: m.subject == "student fp32" and m.task == "ner")
    table = tables.quality_table(found)
    assert column(table, "ner F1", "student fp32").text == "–"
    assert "student fp32 has no score on ner." in table.notes
    assert column(table, "mean drop", "student fp32").detail == "3 of 4 tasks"
    assert digest.mean_score(found, "student fp32") is None


@pytest.mark.parametrize(("where", "quality", "time"), [("score", "failed", "–"), ("load", "failed", "failed")])
def test_a_phase_that_failed_marks_its_empty_cells(where, quality, time):
    failure = Failure("student fp32", "ner", where, "out of memory")
    found = without(
        sample_results(failures=[failure]),
        lambda m: m.subject == "student fp32" and (m.task == "ner" or "latency" in m.metric or "memory" in m.metric),
    )
    assert column(tables.quality_table(found), "ner F1", "student fp32").text == quality
    assert column(tables.latency_table(found), "1×32", "student fp32").text == time
    assert column(memory_tables(found)[0], "peak", "student fp32").text == time


def test_a_shape_that_failed_shows_no_figure_that_was_timed_before():
    found = sample_results(failures=[a_failure()])
    assert texts(tables.latency_table(found), "student int8-tables4") == [
        "1.10 (×22.7)",
        "4.40 (×22.7)",
        "failed",
        "0.91 (×22.7)",
    ]
    assert texts(tables.latency_table(sample_results()), "student int8-tables4")[2] == "35.2 (×22.7)"


def test_latency_has_the_speedup_with_its_interval_but_not_for_the_teacher():
    table = tables.latency_table(sample_results())
    assert table.columns == ("1×32\n1 thread", "1×128\n1 thread", "8×128\n1 thread", "1×real\n1 thread")
    assert texts(table, "teacher fp32") == ["25.0", "100", "800", "20.6"]
    cell = table.rows["student fp32"][0]
    assert (cell.text, cell.detail) == ("3.10 (×8.1)", "7.8 to 8.4")
    assert cell.title == "median between 3.04 and 3.19 ms"


@pytest.mark.parametrize(
    ("metric", "title", "teacher", "student"),
    [("latency_p90", "90th percentile of latency in ms", "30.0", "3.72 (×8.1)"),
     ("throughput", "Throughput in texts/s", "40.0", "323 (×8.1)")],
)  # fmt: skip
def test_what_a_preset_is_about_has_a_table_of_its_own(metric, title, teacher, student):
    found = sample_results()
    assert tables.headline_table(found) is None
    found = dataclasses.replace(found, settings={**found.settings, "headline": metric})
    table = tables.headline_table(found)
    assert table.caption == f"{title} (batch×tokens)"
    assert (texts(table, "teacher fp32")[0], texts(table, "student fp32")[0]) == (teacher, student)
    assert title in markdown(found)
    failed = dataclasses.replace(found, failures=(a_failure(),))
    assert texts(tables.headline_table(failed), "student int8-tables4")[2] == "failed"


def test_real_texts_are_split_by_part():
    (table,) = tables.split_tables(sample_results())
    assert table.columns == ("tokenize\nms", "model\nms", "postprocess\nms", "total\nms")
    assert texts(table, "teacher fp32") == ["0.40", "20.0", "0.20", "20.6"]


def test_threads_are_columns_of_their_own_and_the_fewest_are_summed_up():
    found = sample_results()
    two = [
        dataclasses.replace(m, settings={**m.settings, "threads": 2}, value=m.value / 2)
        for m in found.measurements
        if m.metric == "latency_p50" and m.settings["length"] == 32
    ]
    found = dataclasses.replace(found, measurements=(*two, *found.measurements))
    assert [c for c in tables.latency_table(found).columns if "2 threads" in c] == ["1×32\n2 threads"]
    assert speed.usual_spot(found) == speed.Spot("cpu", 1, 1, 32)


def test_the_smallest_shape_counts_where_1x32_was_not_timed():
    found = without(sample_results(), lambda m: m.settings.get("length") == 32)
    assert speed.usual_spot(found) == speed.Spot("cpu", 1, 1, 128)
    assert speed.usual_spot(without(found, lambda m: "latency" in m.metric)) is None


def test_parts_of_several_stored_types_are_summed():
    rows = [
        Measurement("teacher fp32", "topic", "part_bytes", size, "bytes", {"part": part, "dtype": dtype})
        for part, dtype, size in (("FFN", "float32", 4e6), ("embeddings", "uint4", 1e6), ("FFN", "int8", 2e6))
    ]
    table = tables.ledger_table(dataclasses.replace(sample_results(), measurements=tuple(rows)))
    assert table.columns == ("embeddings\nMB", "FFN\nMB", "together\nMB")
    assert texts(table, "teacher fp32") == ["1.0", "6.0", "7.0"]
    assert texts(table, "student fp32") == ["–", "–", "–"]


def test_energy_is_shown_where_it_was_measured():
    found = sample_results()
    where = {"threads": 1, "device": "cpu", "batch": 1, "length": 32, "part": "model"}
    joules = [Measurement("teacher fp32", "topic", "energy", 0.75, "J", {**where, "length": n}) for n in (32, 128)]
    assert not any("energy" in head for head in memory_tables(found)[0].columns)
    (table,) = memory_tables(dataclasses.replace(found, measurements=(*found.measurements, *joules)))
    assert table.columns[-1] == "energy\nJ a text, 1×32"
    assert (texts(table, "teacher fp32")[-1], texts(table, "student fp32")[-1]) == ("0.75", "–")
    assert texts(table, "teacher fp32")[:5] == ["250", "50.0", "60.0", "178", "296"]


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0123, "0.012"), (1.1, "1.10"), (25.04, "25.0"), (651.6, "652"), (12345, "12,345"), (0, "0.00")],
)
def test_digits(value, said):
    assert digits(value) == said


def test_words():
    assert [megabytes(n) for n in (42e3, 4.7e6, 1111.9e6)] == ["0.042", "4.7", "1,112"]
    assert [counted(n, "task") for n in (1, 4, 12)] == ["one task", "four tasks", "12 tasks"]
    assert [listed(list(n)) for n in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
    assert shortened("student int8-tables4") == "student int8-tables4"
    assert shortened("abcdefghij", 7) == "abc…hij"
