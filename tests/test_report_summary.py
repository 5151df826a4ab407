import dataclasses

import pytest
from sample_results import a_failure, sample_results

from edgecompress.bench.results import Subject
from edgecompress.records import Measurement
from edgecompress.report import summary


def without(results, drop):
    return dataclasses.replace(results, measurements=tuple(m for m in results.measurements if not drop(m)))


def without_subject(results, name):
    kept = tuple(s for s in results.subjects if s.name != name)
    return dataclasses.replace(without(results, lambda m: m.subject == name), subjects=kept)


def test_the_smallest_student_is_summed_up_with_figures_from_the_results():
    assert summary.sentence(sample_results()) == (
        "The student int8-tables4 keeps 93.5 % of the teacher's accuracy on four tasks, is 25× smaller (118 → 4.7 MB) "
        "and answers 23× faster (25.0 → 1.10 ms at 1×32, one thread of AMD EPYC 9B45)."
    )


def test_another_run_says_other_figures():
    said = summary.sentence(sample_results(slower=2.0, points=5.4))
    assert "keeps 100.0 %" in said
    assert "25.0 → 2.20 ms" in said


def test_a_student_without_scores_is_passed_over_for_the_next_smallest():
    scores = ("macro_f1", "span_f1", "accuracy")
    found = without(sample_results(), lambda m: m.subject == "student int8-tables4" and m.metric in scores)
    assert summary.summarised(found).name == "student fp32"
    assert "5.0× smaller (118 → 23.7 MB)" in summary.sentence(found)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: without_subject(r, "teacher fp32"), "Not in these results: a teacher to compare with."),
        (lambda r: without(r, lambda m: "latency" in m.metric), "Not in these results: latency."),
        (
            lambda r: without(r, lambda m: m.task == "ner" and m.subject == "student int8-tables4"),
            "one thread of AMD EPYC 9B45). Not in these results: the score of student int8-tables4 on ner.",
        ),
        (
            lambda r: without(r, lambda m: m.metric == "model_bytes" and m.subject == "teacher fp32"),
            "one thread of AMD EPYC 9B45). Not in these results: the file size of teacher fp32.",
        ),
        (
            lambda r: without(r, lambda m: m.metric in ("macro_f1", "span_f1", "accuracy")),
            "No student has a score in these results, so there is nothing to sum up.",
        ),
        (lambda r: dataclasses.replace(r, failures=(a_failure(),)), "One measurement failed, see Failures."),
    ],
)
def test_what_is_missing_is_said(change, says):
    assert summary.sentence(change(sample_results())).endswith(says)


def test_figures_that_are_missing_for_a_claim_change_the_claim():
    student = "student int8-tables4"
    two_less = without(sample_results(), lambda m: m.task == "ner" and m.subject == student)
    assert "accuracy on three tasks, is" in summary.sentence(two_less)
    no_size = without(sample_results(), lambda m: m.metric == "model_bytes" and m.subject == "teacher fp32")
    assert "tasks, is a file of 4.7 MB and answers" in summary.sentence(no_size)


def test_without_a_teacher_the_score_itself_is_said():
    said = summary.sentence(without_subject(sample_results(), "teacher fp32"))
    assert said.startswith(
        "The student int8-tables4 scores 77.6 % on four tasks, is a file of 4.7 MB and answers in 1.10"
    )
    assert "teacher's accuracy" not in said


def test_a_larger_and_slower_student_is_not_praised():
    student = Subject("big", "student", {})
    rows = []
    for name, size, ms in (("teacher fp32", 100e6, 10.0), ("big", 200e6, 40.0)):
        where = {"threads": 2, "device": "cpu", "batch": 1, "length": 16, "part": "model"}
        rows.append(Measurement(name, "topic", "macro_f1", 50.0, "%", {"kind": "topic"}))
        rows.append(Measurement(name, "topic", "model_bytes", size, "bytes"))
        rows.append(Measurement(name, "topic", "latency_p50", ms, "ms", where))
        rows.append(Measurement(name, "topic", "speedup", 10.0 / ms, "×", where))
    results = sample_results()
    results = dataclasses.replace(results, subjects=(results.subjects[0], student), measurements=tuple(rows))
    assert summary.sentence(results) == (
        "The student big keeps 100.0 % of the teacher's accuracy on one task, is 2.0× larger (100 → 200 MB) and "
        "answers 4.0× slower (10.0 → 40.0 ms at 1×16, 2 threads of AMD EPYC 9B45)."
    )


def test_real_texts_alone_are_summed_up_as_such():
    found = without(sample_results(), lambda m: m.settings.get("length") in (32, 128))
    assert "(20.6 → 0.91 ms for real texts, one thread of AMD EPYC 9B45)" in summary.sentence(found)
