"""Settings of the whole test session: one thread, no hub, nothing left switched on by another test."""

from __future__ import annotations

import os
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub reads it: no test asks the network
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = os.environ["TQDM_DISABLE"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest
import torch
from tiny_artifact import write_artifact
from tiny_models import bundle, corpus, task_files

from edgecompress import cli
from edgecompress.encoder.bundle import save

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
