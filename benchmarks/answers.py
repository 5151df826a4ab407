"""What an artifact answers to real texts, with the base install alone: run here, and in an emulated machine.

    python benchmarks/answers.py ARTIFACT TEXTS.json ANSWERS.json
    python benchmarks/answers.py PRODUCT.onnx ANSWERS.json

TEXTS.json is a list of texts. The answers are labels (one a text, or one a word) and logits (one row a text, or one a
token, specials included), one text at a time as `edgecompress.load` does it for schemes that scale over a batch.

PRODUCT.onnx multiplies integers, "a" (uint8) by a constant "b" (int8) that is also an output; the answer is how many
sums are not what numpy says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from edgecompress.bench.host import host
from edgecompress.files import write_json
from edgecompress.runtime.predictions import Label
from edgecompress.runtime.predictor import load
from edgecompress.runtime.running import softmax
from edgecompress.runtime.session import open_run, open_session
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import read_examples

SUMMED = 256  # products a sum


def demo_texts(task: str, count: int) -> list[str]:
    """Return ``count`` texts of the demo's test split, spread over its languages and over the whole of it."""
    found = sorted((Path(str(files("edgecompress"))) / "data" / "demo" / task).glob("*/test.jsonl.gz"))
    whole = [" ".join(example.words) for path in found for example in read_examples([path], TASKS[task])]
    if count > len(whole):
        raise ValueError(f"{count} texts of {task} are asked for, the demo's test split has {len(whole)}")
    return [whole[index * len(whole) // count] for index in range(count)]


def answers(folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Return ``labels`` (a list a text), ``logits`` (rows of one number a label) and ``ids`` of every text."""
    predictor = load(folder, threads=1, batch_size=1)
    run = open_run(predictor.artifact.model_path, threads=1)
    labels, logits, ids = [], [], []
    for text in texts:
        prepared = predictor.prepare([text])
        rows = [_logits(run, one.ids or [predictor.artifact.pad_id]) for one in prepared.encoded]
        (found,) = predictor.finish(prepared, [softmax(row) for row in rows])
        labels.append([found.label] if isinstance(found, Label) else [word.tag for word in found.words])
        logits.append([one for row in rows for one in row.reshape(-1, len(predictor.artifact.labels)).tolist()])
        ids.append([one.ids for one in prepared.encoded])
    return {"labels": labels, "logits": logits, "ids": ids}


def _logits(run: Any, ids: Sequence[int]) -> Any:
    given = np.array([ids], np.int64)
    return run(given, np.ones_like(given))[0]


def agreement(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    """Compare two results of :func:`answers` on the same texts.

    ``logits`` is the largest absolute difference, ``median`` that of a row's largest, ``error`` the root mean square of
    the differences over the standard deviation of ours. ``margin`` is the largest lead (of probability) that a label
    of ours had which theirs is not.
    """
    labels = [one for text in ours["labels"] for one in text]
    others = [one for text in theirs["labels"] for one in text]
    mine, other = (np.array([row for text in one["logits"] for row in text], np.float32) for one in (ours, theirs))
    shares = np.sort(softmax(mine), axis=-1)
    turned = mine.argmax(axis=-1) != other.argmax(axis=-1)
    leads = (shares[:, -1] - shares[:, -2])[turned]
    return {
        "labels": len(labels),
        "equal": sum(a == b for a, b in zip(labels, others, strict=True)),
        "texts_as_tokens": sum(a == b for a, b in zip(ours["ids"], theirs["ids"], strict=True)),
        "logits": round(float(np.abs(mine - other).max()), 6),
        "median": float(f"{np.median(np.abs(mine - other).max(axis=-1)):.2g}"),
        "error": round(float(np.sqrt(np.square(mine - other).mean()) / mine.std()), 6),
        "margin": round(float(leads.max(initial=0.0)), 4),
    }


def products(model: Path) -> dict[str, int]:
    """Return how many of the integer sums of products are ``wrong``, and ``of`` how many."""
    session = open_session(model, threads=1)
    weights = session.run(["b"], {"a": np.zeros((1, SUMMED), np.uint8)})[0]
    given = np.random.default_rng(0).integers(0, 256, (16, SUMMED)).astype(np.uint8)
    found = session.run(["sums"], {"a": given})[0]
    return {"wrong": int((found != given.astype(np.int32) @ weights.astype(np.int32)).sum()), "of": found.size}


def main() -> None:
    """Answer what the command line names."""
    if len(sys.argv) == 3:
        write_json(Path(sys.argv[2]), products(Path(sys.argv[1])))
        return
    folder, texts, target = map(Path, sys.argv[1:])
    machine = host()
    about = {"cpu": machine.cpu, "flags": list(machine.flags), "python": machine.python, "versions": machine.versions}
    write_json(target, {**answers(folder, json.loads(texts.read_text(encoding="utf-8"))), "machine": about})


if __name__ == "__main__":
    main()
