import dataclasses
import io
import math

import pytest
from rich.console import Console
from sample_results import HEADLINES, SUBJECTS, a_failure, sample_results

from edgecompress.bench.compare import compare, judge, label, regressions
from edgecompress.errors import CheckError, InputError
from edgecompress.report.compare import compare_table, remarks, shown

STUDENT = "student int8-tables4"


def changed(found, change, *, metric, subject=STUDENT, **settings):
    """Results with the rows of ``metric`` (and of ``settings``) of one subject passed through ``change``."""

    def is_meant(row):
        given = all(row.settings.get(name) == value for name, value in settings.items())
        return row.subject == subject and row.metric == metric and given

    rows = (change(row) if is_meant(row) else row for row in found.measurements)
    return dataclasses.replace(found, measurements=tuple(row for row in rows if row is not None))


def times(factor, **more):
    def scaled(row):
        interval = row.interval and tuple(bound * factor for bound in row.interval)
        return dataclasses.replace(row, value=row.value * factor, interval=interval, **more)

    return scaled


def row_of(found, metric, task="topic", subject=STUDENT, **settings):
    return next(
        row
        for row in found.rows
        if (row.metric, row.task, row.subject) == (metric, task, subject)
        and all(row.settings.get(name) == value for name, value in settings.items())
    )


def render(table, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_same_results_differ_in_nothing():
    found = compare(sample_results(), sample_results())
    assert {row.verdict for row in found.rows} == {"unchanged"}
    assert (found.missing, found.failures, found.notes) == ((), (), ())
    assert shown(found, everything=False) == []
    judge(found, 0.0)


def test_scores_are_in_points_and_intervals_combine_as_independent():
    found = compare(sample_results(), sample_results(points=3.0))
    row = row_of(found, "macro_f1")
    assert (row.unit, row.difference, row.worse) == ("points", pytest.approx(3.0), pytest.approx(-300 / 86.6))
    assert row.interval == pytest.approx((3 - math.hypot(2, 2), 3 + math.hypot(2, 2)))
    assert row.verdict == "better"
    assert row_of(compare(sample_results(), sample_results(points=2.8)), "macro_f1").verdict == "within noise"


def test_each_side_of_an_interval_has_its_own_width():
    row = row_of(compare(sample_results(), sample_results(slower=1.1)), "latency_p50", batch=1, length=32, part="model")
    old, new = 1.1, 1.21
    below, above = math.hypot(0.02 * new, 0.03 * old), math.hypot(0.03 * new, 0.02 * old)
    assert (row.unit, row.difference) == ("%", pytest.approx(10.0))
    assert row.interval == pytest.approx((100 * (new - old - below) / old, 100 * (new - old + above) / old))
    assert row.verdict == "worse"


def test_an_interval_needs_both_sides():
    one_sided = changed(sample_results(), lambda row: dataclasses.replace(row, interval=None), metric="latency_p50")
    one_sided = changed(one_sided, times(1.5), metric="latency_p50")
    row = row_of(compare(sample_results(), one_sided), "latency_p50", batch=1, length=32)
    assert (row.interval, row.verdict) == (None, "no interval")


def test_sizes_are_exact():
    row = row_of(
        compare(sample_results(), changed(sample_results(), times(1.001), metric="model_bytes")), "model_bytes"
    )
    assert (row.interval, row.verdict, row.difference) == (None, "worse", pytest.approx(0.1))


def test_counts_do_not_keep_figures_apart_and_other_settings_do():
    def more(row):
        return dataclasses.replace(row, settings={**row.settings, "iterations": 7})

    def threaded(row):
        return dataclasses.replace(row, settings={**row.settings, "threads": 2})

    here = {"metric": "latency_p50", "batch": 1, "length": 32}
    assert not compare(sample_results(), changed(sample_results(), more, **here)).missing
    assert compare(sample_results(), changed(sample_results(), threaded, **here)).missing == (
        f"{STUDENT}: topic p50 1×32",
    )


def test_other_test_data_are_noted():
    def fewer(row):
        return dataclasses.replace(row, settings={**row.settings, "examples": 100})

    found = compare(sample_results(), changed(sample_results(), fewer, metric="span_f1"))
    assert found.notes == ("ner was scored on 500 examples there and 100 here: the test data differ",)


def test_worst_first():
    new = changed(sample_results(slower=1.1, points=4.0), times(1.3), metric="model_bytes", subject="student fp32")
    rows = shown(compare(sample_results(), new), everything=False)
    assert [row.metric for row in rows[:4]] == ["model_bytes"] * 4
    verdicts = [row.verdict for row in rows]
    assert verdicts == sorted(verdicts, reverse=True)  # worse before better
    assert "better" in verdicts
    worse = [round(row.worse, 6) for row in rows if row.verdict == "worse"]
    assert worse == sorted(worse, reverse=True)


@pytest.mark.parametrize(
    ("metric", "factor", "fails"),
    [
        ("latency_p50", 1.2, True),
        ("latency_p50", 1.06, True),
        ("latency_p50", 1.045, False),  # real, but below 5 %
        ("latency_p50", 0.5, False),
        ("macro_f1", 0.94, True),
        ("macro_f1", 0.96, False),
        ("model_bytes", 1.051, True),
        ("model_bytes", 1.05, False),
        ("memory_steady", 1.06, True),
        ("latency_p99", 2.0, False),  # no interval: two runs of one model differ so
        ("load", 2.0, False),
        ("throughput", 0.5, False),  # the median says the same, with an interval
        ("speedup", 0.5, False),
    ],
)
def test_what_counts_as_a_regression(metric, factor, fails):
    found = compare(sample_results(), changed(sample_results(), times(factor), metric=metric))
    assert bool(regressions(found, 5.0)) is fails
    if fails:
        with pytest.raises(CheckError, match=r"worse by more than 5 %: student int8-tables4 "):
            judge(found, 5.0)
    else:
        judge(found, 5.0)


@pytest.mark.parametrize(("half", "fails"), [(0.5, True), (20.0, False)])
def test_noise_does_not_fail(half, fails):
    def wide(row):
        return dataclasses.replace(row, interval=(row.value - half, row.value + half))

    old = changed(sample_results(), wide, metric="macro_f1")
    new = changed(changed(sample_results(), times(0.9), metric="macro_f1"), wide, metric="macro_f1")
    assert bool(regressions(compare(old, new), 5.0)) is fails


def test_p99_counts_where_it_has_an_interval():
    def sure(row):
        return dataclasses.replace(row, interval=(0.99 * row.value, 1.01 * row.value))

    old = changed(sample_results(), sure, metric="latency_p99")
    assert regressions(compare(old, changed(old, times(1.2), metric="latency_p99")), 5.0)


def test_parts_of_a_latency_are_not_judged_but_the_whole_is():
    slow = {"metric": "latency_p50", "length": "real"}
    parts = changed(sample_results(), times(2.0), part="tokenize", **slow)
    assert not regressions(compare(sample_results(), parts), 5.0)
    whole = changed(sample_results(), times(2.0), part="total", **slow)
    assert [row.label() for row in regressions(compare(sample_results(), whole), 5.0)] == ["topic p50 real total"]


def test_a_change_from_nothing_is_more_than_any_percentage():
    old = changed(sample_results(), times(0.0), metric="memory_steady")
    found = compare(old, sample_results())
    assert [row.worse for row in regressions(found, 1e9)] == [math.inf]


def without_subject(found, name):
    return dataclasses.replace(
        found,
        subjects=tuple(one for one in found.subjects if one.name != name),
        measurements=tuple(row for row in found.measurements if row.subject != name),
    )


def without_task(found, name, task):
    subjects = [
        dataclasses.replace(one, models={t: m for t, m in one.models.items() if (one.name, t) != (name, task)})
        for one in found.subjects
    ]
    rows = tuple(row for row in found.measurements if (row.subject, row.task) != (name, task))
    return dataclasses.replace(found, subjects=tuple(subjects), measurements=rows)


@pytest.mark.parametrize(
    ("new", "names"),
    [
        (without_subject(sample_results(), STUDENT), STUDENT),
        (without_task(sample_results(), STUDENT, "pos"), f"{STUDENT}: pos"),
        (changed(sample_results(), lambda _: None, metric="span_f1"), f"{STUDENT}: ner F1"),
    ],
)
def test_what_is_missing_is_named_and_fails_only_when_judged(new, names):
    found = compare(sample_results(), new)
    assert found.missing == (names,)
    assert f"missing in the newer results: {names}" in list(remarks(found, ()))
    with pytest.raises(CheckError) as error:
        judge(found, 100.0)
    assert str(error.value) == f"missing in the newer results: {names}"
    assert not compare(new, sample_results()).missing  # more than before is fine


def test_a_new_failure_is_a_regression_and_an_old_one_is_not():
    gone = changed(sample_results(failures=[a_failure()]), lambda _: None, metric="latency_p50", batch=8)
    found = compare(sample_results(), gone)
    assert (found.failures, found.missing) == ((a_failure(),), ())  # said once, not twice
    with pytest.raises(CheckError, match=r"failed: student int8-tables4 topic 8×128 \(hung"):
        judge(found, 100.0)
    judge(compare(gone, gone), 0.0)


def test_nothing_in_common_is_refused():
    subjects = tuple(dataclasses.replace(one, name=f"my {one.name}") for one in sample_results().subjects)
    rows = tuple(dataclasses.replace(row, subject=f"my {row.subject}") for row in sample_results().measurements)
    with pytest.raises(InputError, match="no figure in common") as error:
        compare(sample_results(), dataclasses.replace(sample_results(), subjects=subjects, measurements=rows))
    assert "teacher fp32" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("metric", "settings", "says"),
    [
        ("latency_p50", {"batch": 1, "length": 32, "threads": 1, "device": "cpu", "part": "model"}, "topic p50 1×32"),
        ("latency_p99", {"batch": 8, "length": "real", "threads": 4}, "topic p99 8×real 4 threads"),
        ("memory_steady", {"threads": 1, "device": "cuda"}, "topic memory cuda"),
        ("accuracy", {"kind": "pos"}, "topic acc"),
    ],
)  # fmt: skip
def test_labels(metric, settings, says):
    assert label("topic", metric, settings) == says


def test_the_table_fits_a_terminal_and_tells_everything():
    found = compare(sample_results(), sample_results(slower=1.3, points=-4.0))
    lines = render(compare_table(shown(found, everything=False)))
    assert max(map(len, lines)) <= 80
    words = [line.split() for line in lines]
    assert ["student", "int8-tables4", "p50", "1×32", "1.10", "1.43", "+30.0", "%", "26.0…34.4", "worse"] in words
    assert ["student", "fp32", "topic", "F1", "87.0", "83.0", "-4.0", "pt", "-6.8…-1.2", "worse"] in words
    noise = compare(sample_results(), sample_results(slower=1.01))
    assert shown(noise, everything=False) == []
    words = [line.split() for line in render(compare_table(shown(noise, everything=True)), 100)]
    assert ["student", "fp32", "p50", "1×32", "3.10", "3.13", "+1.0", "%", "-2.6…4.6", "noise"] in words
    assert ["student", "fp32", "p99", "1×32", "5.89", "5.95", "+1.0", "%", "–", "–"] in words


def test_names_are_not_markup():
    def named(found):
        new = [dataclasses.replace(row, subject=f"[red]{row.subject}") for row in found.measurements]
        subjects = [dataclasses.replace(one, name=f"[red]{one.name}") for one in found.subjects]
        return dataclasses.replace(found, subjects=tuple(subjects), measurements=tuple(new))

    found = compare(named(sample_results()), named(sample_results(slower=2.0)))
    assert "[red]student fp32" in "\n".join(render(compare_table(shown(found, everything=False)), 120))


def test_every_headline_and_subject_is_compared():
    found = compare(sample_results(), sample_results())
    assert {(row.subject, row.task) for row in found.rows if row.metric == HEADLINES[row.task]} == {
        (subject, task) for subject in SUBJECTS for task in HEADLINES
    }


def test_other_test_data_of_as_many_examples_are_noted():
    def splits(digest):
        found = sample_results()
        return dataclasses.replace(found, settings={"tests": {"ner": {"examples": 500, "sha256": digest}}})

    note = "ner was scored on other test data of as many examples: scores do not compare"
    found = compare(splits("a"), splits("b"))
    assert (found.notes, found.retested) == ((note,), ("ner",))
    with pytest.raises(CheckError, match="scored on other test data, which no gate can judge: ner"):
        judge(found, 1.0)
    worse = dataclasses.replace(sample_results(points=-9.0), settings=splits("b").settings)
    named = {row.task for row in regressions(compare(splits("a"), worse), 1.0) if row.unit == "points"}
    assert named == set(HEADLINES) - {"ner"}
    assert compare(splits("a"), splits("a")).notes == ()
