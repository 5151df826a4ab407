"""A real run, killed again and again without warning, ends with the bytes of an uninterrupted one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from tiny_models import bundle, corpus, task_files

from edgecompress.encoder.bundle import save

RECIPE = """
name = "tiny"
teacher = "teacher-model"
[corpora.slk]
files = ["slk.txt"]
[tasks.topic]
train = ["topic-train.jsonl"]
validation = ["topic-validation.jsonl"]
[[stages]]
stage = "trim"
corpora = ["slk"]
[[stages]]
stage = "distill"
corpora = ["slk"]
layers = 2
objective = {mlm = 0.5, relation_heads = 4}
training = {steps = 60, batch_size = 4, max_length = 32, precision = "fp32"}
[[stages]]
stage = "finetune"
tasks = ["topic"]
training = {epochs = 4, batch_size = 4, precision = "fp32"}
"""
COMMAND = (sys.executable, "-c", "from edgecompress.cli import main; main()", "run", "recipe.toml", "-o")
KILLS = 2


def start(home, out):
    environment = {**os.environ, "EDGECOMPRESS_CHECKPOINT_SECONDS": "0"}
    return subprocess.Popen(
        [*COMMAND, out], cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def wait_until_it_trains(process, home, out, patience):
    """Wait until a checkpoint is being written, then ``patience`` seconds: so that kills hit the work, not imports."""
    seen = set(home.glob(f"{out}/.work/*/checkpoint-*"))
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if set(home.glob(f"{out}/.work/*/checkpoint-*")) - seen:
            break
        time.sleep(0.002)
    time.sleep(patience)


def weights(home, out):
    return {path.parent.name: path.read_bytes() for path in home.glob(f"{out}/stages/*/model.safetensors")}


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path):
    save(bundle("bert"), tmp_path / "teacher-model")
    corpus(tmp_path)
    task_files(tmp_path, "topic", 20)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    whole = start(tmp_path, "whole")
    assert whole.wait(120) == 0, whole.stdout.read().decode()
    whole.stdout.close()
    moments, killed = random.Random(7), 0
    for _ in range(KILLS):
        process = start(tmp_path, "pieces")
        wait_until_it_trains(process, tmp_path, "pieces", moments.uniform(0.0, 0.25))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert killed == KILLS
    last = start(tmp_path, "pieces")
    assert last.wait(120) == 0, last.stdout.read().decode()
    last.stdout.close()
    assert weights(tmp_path, "whole").keys() == {"trim", "distill", "finetune-topic"}
    assert weights(tmp_path, "pieces") == weights(tmp_path, "whole")
    assert not [*tmp_path.rglob("*.part"), *tmp_path.glob("pieces/.work/*")]
