"""Settings of the whole test session: one thread, no hub, nothing left switched on by another test."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from dataclasses import replace

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub reads it: no test asks the network
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = os.environ["TQDM_DISABLE"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest
import torch
from tiny_artifact import write_artifact
from tiny_models import SENTENCES, bundle, corpus, task_files

from edgecompress import cli
from edgecompress.encoder.bundle import save
from edgecompress.export.onnx import export
from edgecompress.records import Step
from edgecompress.serve import logs

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fresh_seed() -> None:
    torch.manual_seed(1234)


@pytest.fixture
def run(monkeypatch, capfd):
    """Run the command line in this process: (exit code, stdout, stderr)."""

    monkeypatch.setenv("COLUMNS", "300")  # a narrow terminal would wrap the lines that are looked for

    def call(*words, stdin=None):
        monkeypatch.setattr(sys, "argv", ["edgecompress", *map(str, words)])
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", stdin)
        code = 0
        try:
            cli.main()
        except SystemExit as stopped:
            code = stopped.code
        return code, *capfd.readouterr()

    return call


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    save(bundle("bert"), folder / "model")
    corpus(folder)
    task_files(folder, "topic", 12)
    write_artifact(folder / "artifact", "sentiment")
    return folder


@pytest.fixture
def log():
    """The lines that are logged, as objects, once read."""
    stream = io.StringIO()
    handler = logs.to_stderr(stream, logging.DEBUG)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for name in (logs.NAME, "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A model folder and its fp32 artifact, by family and kind of task."""
    folder, cache = tmp_path_factory.mktemp("made"), {}

    def get(family="xlm-roberta", kind="text"):
        if (family, kind) not in cache:
            torch.manual_seed(0)
            one = bundle(family, kind, layers=1)
            task = {"text": "topic", "token": "pos"}[kind]
            one = replace(one, history=(Step("finetune", {"task": {"kind": task}}),))
            save(one, folder / f"{family}-{kind}")
            cache[family, kind] = folder / f"{family}-{kind}", export(one, folder / f"{family}-{kind}-fp32")
        return cache[family, kind]

    return get


@pytest.fixture
def lines_file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(SENTENCES) + "\n")
    return path
