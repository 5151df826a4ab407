"""Results as a benchmark writes them: a teacher, a student in two forms, a student without distillation."""

from edgecompress.bench.results import Failure, Model, Results, Subject
from edgecompress.records import Host, Measurement, Step

HOST = Host("AMD EPYC 9B45", 2, ("avx2", "avx512_vnni"), 8.0, "Linux 6", "3.11.7", {"onnxruntime": "1.32.0"}, "", 0.4)
HEADLINES = {"topic": "macro_f1", "sentiment": "macro_f1", "ner": "span_f1", "pos": "accuracy"}
# name → (role, scheme, parameters, bytes, points below the teacher, ms at 1×32)
SUBJECTS = {
    "teacher fp32": ("teacher", "fp32", 29.3e6, 118e6, 0.0, 25.0),
    "student fp32": ("student", "fp32", 5.7e6, 23.7e6, 5.0, 3.1),
    "student int8-tables4": ("student", "int8-tables4", 5.7e6, 4.7e6, 5.4, 1.1),
    "cut-only fp32": ("baseline", "fp32", 5.7e6, 23.7e6, 15.0, 3.1),
}
SHAPES = ((1, 32), (1, 128), (8, 128))
PARTS = {"embeddings": 0.55, "attention": 0.15, "FFN": 0.25, "head": 0.01, "other": 0.04}


def sample_results(*, slower=1.0, points=0.0, host=HOST, failures=(), name="sample"):
    """``slower``: times all of a student's milliseconds; ``points``: added to a student's scores."""
    subjects, rows = [], []
    for subject, (role, scheme, parameters, size, below, ms) in SUBJECTS.items():
        factor = 1.0 if role == "teacher" else slower
        models = {task: Model("artifact", f"{subject.replace(' ', '-')}-{task}", "0" * 64, scheme, _history(role, task))
                  for task in HEADLINES}  # fmt: skip
        subjects.append(Subject(subject, role, models))
        rows += _quality(subject, role, below - (points if role == "student" else 0.0))
        for task in HEADLINES:
            rows.append(Measurement(subject, task, "parameters", parameters, "parameters", {"kind": task}))
            rows.append(Measurement(subject, task, "model_bytes", size, "bytes", {"kind": task}))
            rows += [
                Measurement(subject, task, "part_bytes", size * share, "bytes", {"part": part, "dtype": "int8"})
                for part, share in PARTS.items()
            ]
        for batch, length in SHAPES:
            rows += _speed(subject, {"batch": batch, "length": length}, ms * factor * batch * length / 32, 25.0 / ms)
        rows += _speed(subject, {"batch": 1, "length": "real"}, 0.8 * ms * factor, 25.0 / ms)
        for part, share in (("tokenize", 0.02), ("postprocess", 0.01), ("total", 1.03)):
            rows += _speed(subject, {"batch": 1, "length": "real", "part": part}, 0.8 * ms * factor * share, 25.0 / ms)
        for metric, value, unit in (("load", 10 * ms, "ms"), ("first_prediction", 2 * ms, "ms"),
                                    ("memory_idle", 60e6, "bytes"), ("memory_steady", 60e6 + size, "bytes"),
                                    ("memory_peak", 60e6 + 2 * size, "bytes")):  # fmt: skip
            rows.append(Measurement(subject, "topic", metric, value, unit, {"threads": 1, "device": "cpu"}))
    settings = {"seconds": 2.0, "rounds": 5, "iterations": 20, "preset": None, "device": "cpu", "time_limit": 120.0}
    return Results(name, "2026-11-25T03:00:00+00:00", host, settings, tuple(subjects), tuple(rows), tuple(failures))


def a_failure():
    return Failure("student int8-tables4", "topic", "8×128", "hung: no answer within 120 s, the process was ended")


def _quality(subject, role, below):
    for at, (task, metric) in enumerate(HEADLINES.items()):
        score = 92.0 - 6 * at - below
        settings = {"kind": task, "examples": 500}
        yield Measurement(subject, task, metric, score, "%", settings, (score - 2.0, score + 2.0))
        if role != "teacher":
            yield Measurement(
                subject, task, f"{metric}_difference", -below, "points", settings, (-below - 1.0, -below + 1.0)
            )


def _speed(subject, where, ms, speedup):
    settings = {"threads": 1, "device": "cpu", "iterations": 100, "part": "model", **where}
    for metric, times in (("p50", 1.0), ("mean", 1.05), ("p90", 1.2), ("p95", 1.4), ("p99", 1.9)):
        interval = (ms * 0.98, ms * 1.03) if metric == "p50" else None
        yield Measurement(subject, "topic", f"latency_{metric}", ms * times, "ms", settings, interval)
    yield Measurement(subject, "topic", "throughput", 1000 * where["batch"] / ms, "texts/s", settings)
    yield Measurement(subject, "topic", "speedup", speedup, "×", settings, (speedup * 0.97, speedup * 1.04))
    yield Measurement(subject, "topic", "noise", 2.5, "%", settings)


def _history(role, task):
    curve = [[step, round(2.0 / (1 + step / 100), 4)] for step in range(20, 1001, 20)]
    steps = [Step("trim", {"size": 20000}, 29_171_712, 13.0, {"kept": 20000, "of": 250002})]
    if role == "student":
        steps.append(Step("distill", {"layers": 6}, 5_700_000, 1500.0, {"steps": 1000, "loss": 0.18, "curve": curve}))
    scores = [[250 * epoch, 50.0 + 10 * epoch] for epoch in range(1, 5)]
    steps.append(Step("finetune", {"task": task}, 5_700_000, 300.0, {"steps": 1000, "curve": curve, "scores": scores}))
    return (*steps, Step("export", {}, 5_700_000, 0.0, {"difference": 1e-6}))
