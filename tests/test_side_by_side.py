"""Stages at the same time: the same results, in the order that they need, and nobody left when one fails."""

from __future__ import annotations

import signal
import time
from itertools import pairwise

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_jobs import job
from tiny_recipes import small_home, small_recipe

from edgecompress import pipeline
from edgecompress.errors import CorpusError, InputError, StageError
from edgecompress.progress import listening
from edgecompress.side_by_side import Job, run_jobs

TRAINING = {"epochs": 1, "precision": "fp32"}
STAGES = [
    {"stage": "trim", "corpora": ["slk"]},
    {"stage": "finetune", "name": "teacher", "tasks": ["topic"], "training": TRAINING},
    {"stage": "prune", "from": "trim", "corpora": ["more"], "ffn": 30, "tokens": 256},
    {"stage": "finetune", "name": "student", "tasks": ["topic"], "teacher": "teacher", "training": TRAINING},
]


@pytest.fixture
def home(tmp_path):
    return small_home(tmp_path)


def recipe(home, stages=STAGES):
    return small_recipe(home, stages)


def test_stages_side_by_side_make_what_they_make_one_by_one(home):
    alone, events = pipeline.run(recipe(home), home / "alone"), []
    with listening(events.append):
        together = pipeline.run(recipe(home), home / "together", jobs=2)
    assert [(one.name, one.key) for one in together.values()] == [(one.name, one.key) for one in alone.values()]
    for name in alone:
        one, other = (
            load_file(home / where / "stages" / name / "model.safetensors") for where in ("alone", "together")
        )
        assert one.keys() == other.keys()
        for tensor in one:  # another number of threads adds up in another order
            np.testing.assert_allclose(one[tensor], other[tensor], atol=1e-4)
    assert "teacher-topic, prune" in {one.note for one in events if one.task == "stages"}
    assert {"teacher-topic: finetune topic", "student-topic: finetune topic"} <= {one.task for one in events}
    again = pipeline.run(recipe(home), home / "together", jobs=2)
    assert all(one.reused for one in again.values())
    assert not (home / "together/.work").exists()


def test_an_error_of_a_stage_is_raised_and_what_is_done_stays(home):
    text = (home / "more.txt").read_bytes()
    (home / "more.txt").write_bytes(b"\xff\xfe broken")
    with pytest.raises(CorpusError, match=r"more\.txt"):
        pipeline.run(recipe(home, [STAGES[0], STAGES[2]]), home / "out", jobs=2)
    (home / "more.txt").write_bytes(text)
    again = pipeline.run(recipe(home, [STAGES[0], STAGES[2]]), home / "out", jobs=2)
    assert again["trim"].reused
    assert not again["prune"].reused


def test_under_torchrun_there_is_one_stage_at_a_time(home, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="--jobs 2: under torchrun"):
        pipeline.run(recipe(home), home / "out", jobs=2)


def test_jobs_wait_for_what_they_need_and_for_room(tmp_path):
    needs = {"b": (), "a": (), "c": (), "d": ("a", "c")}
    jobs = [Job(name, frozenset(before), ("put", tmp_path, name)) for name, before in needs.items()]
    told, events = [], []
    with listening(events.append):
        run_jobs(jobs, job, 2, cores=2, tell=lambda ended, names: told.append((ended, names)))
    times = {name: tuple(map(float, (tmp_path / name).read_text().split()))[:2] for name in needs}
    assert all(times[before][1] < times["d"][0] for before in needs["d"])
    begins = sorted(begin for begin, _ in times.values())
    assert all(sum(begin <= at < end for begin, end in times.values()) <= 2 for at in begins)
    assert told[0] == (0, "a, c")  # d waits for these
    assert told[-1] == (4, "done")
    assert all(one != after for one, after in pairwise(told))
    assert {f"{name}: work" for name in needs} == {one.task for one in events}


def test_a_job_that_is_killed_stops_the_others():
    jobs = [Job("long", frozenset(), ("sleep", 600)), Job("short", frozenset(), ("end", signal.SIGKILL))]
    began = time.monotonic()
    with pytest.raises(StageError, match="short was killed by signal 9"):
        run_jobs(jobs, job, 2, cores=2, tell=lambda *_: None)
    assert time.monotonic() - began < 300


def test_a_job_has_its_share_of_the_cores(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run_jobs([Job("one", frozenset(), ("count", tmp_path))], job, 3, cores=7, tell=lambda *_: None)
    assert (tmp_path / "threads").read_text() == "2"
