"""A real run, killed again and again without warning, ends with the bytes of an uninterrupted one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import transformers
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
# Clocks as far apart as can be: by its own the second process would never save.
LATE = "import os; os.environ['EDGECOMPRESS_CHECKPOINT_SECONDS'] = str(1000 * int(os.environ.get('RANK', '0'))); "
COMMAND = (sys.executable, "-c", f"{LATE}from edgecompress.cli import main; main()", "run", "recipe.toml", "-o")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python")
OLD = pytest.mark.skipif(transformers.__version__ < "5", reason="transformers 4 cannot load what several CPUs saved")
KILLS = {"alone": 2, "torchrun": 1}  # two processes start slowly


def start(home, out, before=()):
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([*before, *COMMAND, out], cwd=home, start_new_session=True, **output)


def ended(process):
    """Return the exit code and what was said; what does not end is ended, with all its processes."""
    try:
        said, _ = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, said.decode()


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
@pytest.mark.parametrize("how", ["alone", pytest.param("torchrun", marks=OLD)])
def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path, how):
    before = TORCHRUN if how == "torchrun" else ()
    save(bundle("bert"), tmp_path / "teacher-model")
    corpus(tmp_path)
    task_files(tmp_path, "topic", 20)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    whole = start(tmp_path, "whole", before)
    code, said = ended(whole)
    assert code == 0, said
    moments, killed = random.Random(7), 0
    for _ in range(KILLS[how]):
        process = start(tmp_path, "pieces", before)
        wait_until_it_trains(process, tmp_path, "pieces", moments.uniform(0.0, 0.25))
        killed += process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert killed == KILLS[how]
    last = start(tmp_path, "pieces", before)
    code, said = ended(last)
    assert code == 0, said
    assert weights(tmp_path, "whole").keys() == {"trim", "distill", "finetune-topic"}
    assert weights(tmp_path, "pieces") == weights(tmp_path, "whole")
    assert not [*tmp_path.rglob("*.part"), *tmp_path.glob("pieces/.work/*")]
