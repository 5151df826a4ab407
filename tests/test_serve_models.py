from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from tiny_artifact import LABELS, table, write_artifact

from edgecompress.errors import ArtifactError, CheckError
from edgecompress.runtime.predictions import Label
from edgecompress.serve import models
from edgecompress.serve.settings import Settings


@pytest.mark.parametrize("task", LABELS)
def test_every_task_opens_and_is_described(tmp_path, task):
    artifact = write_artifact(tmp_path / "private", task)
    served = models.open_model("mine", tmp_path / "private", Settings(threads=1))
    said = models.describe(served)
    assert said["labels"] == list(LABELS[task])
    assert (said["name"], said["task"], said["max_length"], said["scheme"]) == ("mine", task, 16, "fp32")
    assert said["model_sha256"] == artifact.checksums["model.onnx"]
    assert "private" not in str(said)


@pytest.mark.parametrize("task", ["sentiment", "ner"])
def test_a_model_of_nan_is_not_served(tmp_path, task):
    write_artifact(tmp_path / "m", task, rows=np.full_like(table(task), np.nan))
    with pytest.raises(CheckError, match="not numbers"):
        models.open_model("m", tmp_path / "m", Settings(threads=1))


def test_a_graph_that_cannot_run_the_text(tmp_path):
    write_artifact(tmp_path / "m", rows=table("sentiment")[:1])  # ids beyond the table
    with pytest.raises(CheckError, match=r" ids \("):
        models.open_model("m", tmp_path / "m", Settings(threads=1))


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        (Label("other", 1.0, {"other": 1.0}), "not the artifact's"),
        (Label("positive", 1.0, {"positive": 1.0, "negative": 1.0}), "probabilities"),
        (Label("positive", 1.5, {"positive": 1.5, "negative": -0.5}), "probabilities"),
        (Label("positive", 1.0, {"positive": float("nan"), "negative": 1.0}), "probabilities"),
    ],
)
def test_what_the_self_check_finds(tmp_path, monkeypatch, label, problem):
    write_artifact(tmp_path / "m")
    served = models.open_model("m", tmp_path / "m", Settings(threads=1))
    monkeypatch.setattr(type(served.predictor), "__call__", lambda _self, _texts: [label])
    with pytest.raises(CheckError, match=problem):
        models.self_check(served.predictor)


def test_a_damaged_artifact(tmp_path):
    write_artifact(tmp_path / "m")
    with (tmp_path / "m/model.onnx").open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(ArtifactError, match="has changed"):
        models.open_model("m", tmp_path / "m", Settings(threads=1))


def test_the_stamp_tells_swaps_copies_and_touches(tmp_path):
    write_artifact(tmp_path / "m")
    seen = {models.stamp_of(tmp_path / "m")}
    assert models.stamp_of(tmp_path / "m") in seen
    shutil.copytree(tmp_path / "m", tmp_path / "n")
    (tmp_path / "m").rename(tmp_path / "old")
    (tmp_path / "n").rename(tmp_path / "m")
    seen.add(models.stamp_of(tmp_path / "m"))
    os.utime(tmp_path / "m/model.onnx", (1, 1))
    seen.add(models.stamp_of(tmp_path / "m"))
    (tmp_path / "m/model.onnx").write_bytes(b"")
    seen.add(models.stamp_of(tmp_path / "m"))
    assert len(seen) == 4
    assert models.stamp_of(tmp_path / "none") == ()
