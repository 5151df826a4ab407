import dataclasses

import pytest
from sample_results import sample_results

from edgecompress.records import Step
from edgecompress.report import machine, steps


def test_a_step_that_all_tasks_share_is_one_row():
    rows = steps.rows(sample_results().subjects[1])
    assert [(row.stage, row.tasks) for row in rows] == [
        ("trim", ""),
        ("distill", ""),
        *(("finetune", task) for task in ("topic", "sentiment", "ner", "pos")),
        ("export", ""),
    ]
    assert (rows[1].options, rows[1].parameters, rows[1].minutes) == ("layers=6", 5_700_000, 25.0)


def test_curves_are_by_stage_and_fine_tuning_by_task():
    found = steps.curves(sample_results())
    assert set(found) == {("distill", ""), *(("finetune", task) for task in ("topic", "sentiment", "ner", "pos"))}
    (distilled,) = found["distill", ""]  # both students are of one distillation
    assert distilled.subject == "student fp32"
    assert distilled.loss[0] == (20.0, 1.6667)
    assert found["finetune", "topic"][0].scores == ((250, 60), (500, 70), (750, 80), (1000, 90))


def test_two_runs_of_a_stage_are_two_curves():
    results = sample_results()
    last = results.subjects[3]
    model = last.models["topic"]
    other = Step("distill", {}, 1, 1.0, {"curve": [[1, 2.0], [2, 1.0]]})
    changed = dataclasses.replace(last, models={"topic": dataclasses.replace(model, history=(other,))})
    found = steps.curves(dataclasses.replace(results, subjects=(*results.subjects[:3], changed)))
    assert [curve.subject for curve in found["distill", ""]] == ["student fp32", "cut-only fp32"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": 6, "note": "", "nothing": None}, "layers=6"),
        ({"files": ["/home/someone/news.txt", "C:\\texts\\wiki.txt"]}, "files=news.txt+wiki.txt"),
        ({"training": {"steps": 10, "learning_rate": 0.003}}, "training=(steps=10, learning_rate=0.003)"),
        ({}, ""),
    ],
)
def test_options_are_short_and_hold_no_path_of_the_machine(options, said):
    assert steps.short_options(options) == said


def test_long_options_are_cut():
    said = steps.short_options({f"option{n}": n for n in range(100)})
    assert len(said) <= 160
    assert said.endswith("…")


def test_noise_is_the_largest_and_says_where():
    results = sample_results()
    rows = list(results.measurements)
    at = next(n for n, m in enumerate(rows) if m.metric == "noise" and m.settings["batch"] == 8)
    rows[at] = dataclasses.replace(rows[at], value=7.25)
    said = machine.noise(dataclasses.replace(results, measurements=tuple(rows)))
    assert said == (
        "The turns' medians lie within ±7.2 % (most for teacher fp32 at 8×128, 1 thread); times that differ by less "
        "are equal."
    )
    assert "was not measured" in machine.noise(dataclasses.replace(results, measurements=()))


@pytest.mark.parametrize(
    ("metric", "value", "says"),
    [
        ("noise", 5.0, ""),
        ("noise", 80.4, "repeated turns of student fp32 at 8×128 lie ±80 % apart"),
        ("waiting", 30.0, "other programs had the core for 30 % of the time of student fp32 at 8×128"),
    ],
)
def test_a_busy_machine_is_told_of(metric, value, says):
    results = sample_results()
    row = next(m for m in results.measurements if m.metric == "noise" and m.subject == "student fp32"
               and m.settings["batch"] == 8)  # fmt: skip
    worse = dataclasses.replace(row, metric=metric, value=value)
    said = machine.unrest(dataclasses.replace(results, measurements=(*results.measurements, worse)))
    assert says in said
    assert bool(said) == bool(says)


def test_the_machine_and_the_settings_are_told():
    facts = machine.facts(sample_results())
    assert facts["CPU"] == "AMD EPYC 9B45"
    assert facts["clock governor"] == "not told by the system"
    assert facts["libraries"] == "onnxruntime 1.32.0"
    assert facts["measured"] == "2026-11-25 03:00:00 UTC"
    assert machine.settings(sample_results())["time limit"] == "120.0"
