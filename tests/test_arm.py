"""The script of `make test-arm`: what it says without its programs, and that its comparison sees a difference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_artifact import write_artifact

ROOT = Path(__file__).parents[1]
TEXTS = ["good film", "Ján Novák, v Košice.", ""]


def python(*words: str, path: str = os.environ["PATH"], **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path, "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}", **more}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, env=environment)


def test_missing_programs_are_one_line_with_the_next_step(tmp_path: Path) -> None:
    done = python(str(ROOT / "benchmarks" / "arm.py"), str(tmp_path), "-o", str(tmp_path / "work"), path="")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "qemu-aarch64" in line
    assert "apt-get install --no-install-recommends qemu-user" in line
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("task", ["topic", "ner"])
def test_answers_are_compared_label_by_label(tmp_path: Path, task: str) -> None:
    artifact = write_artifact(tmp_path / "tiny", task)
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS), encoding="utf-8")
    names = [str(tmp_path / name) for name in ("texts.json", "answers.json")]
    done = python(str(ROOT / "benchmarks" / "answers.py"), str(artifact.folder), *names)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))
    assert len(found["labels"]) == len(found["ids"]) == len(TEXTS)
    other = json.loads(json.dumps(found))
    other["labels"][0][0] = "another"
    other["logits"][0][0][0] += 0.5
    code = "import json, sys; from answers import agreement; print(json.dumps(agreement(*json.load(sys.stdin))))"
    told = [
        subprocess.run(
            [sys.executable, "-c", code], input=json.dumps([found, one]), capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}"},
        ).stdout
        for one in (found, other)
    ]  # fmt: skip
    same, changed = map(json.loads, told)
    assert (same["equal"], same["logits"], same["error"], same["margin"]) == (same["labels"], 0, 0, 0)
    assert changed["equal"] == same["labels"] - 1
    assert changed["logits"] == pytest.approx(0.5, abs=1e-5)
    assert changed["texts_as_tokens"] == len(TEXTS)
