"""Tokens a second of one distillation step: the paper's formulation beside ours, interleaved, on random weights.

    python benchmarks/distill_speed.py

Teacher and student have the shape of XLM-R base, 12 and 6 layers of hidden 768 (random weights: speed does not depend
on them). The paper's step (arXiv 2505.16956, §3.1): sequences of 512 tokens, the whole vocabulary of 250,002, logits of
both models at every position, float32, α · MLM + (1 − α) · MSE. Ours: the vocabulary trimmed to 40,000 first, sequences
of 128 packed tokens, ``paper-losses`` (the same losses at the masked positions), ``default`` (hidden states and
relations) and ``remembered`` (the same in a later pass over the text, what the teacher said read from disk), trained by
the very function that the stage calls. Results are in benchmarks/results/distill_speed.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch's own documentation uses
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

from edgecompress.bench.host import host
from edgecompress.encoder.importance import IGNORED
from edgecompress.files import write_json
from edgecompress.options import Objective, Training
from edgecompress.training.distiller import Distiller
from edgecompress.training.trainer import Data, fit

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "distill_speed"
WHOLE, TRIMMED, LAYERS, KEPT_LAYERS = 250_002, 40_000, 12, 6
PAPER_SHAPE, OUR_SHAPE = (2, 512), (16, 128)  # sequences × tokens of a step; both fit a machine of 16 GB
MASKED, ALPHA = 0.15, 0.5
OBJECTIVES = {
    "paper-losses": Objective(mlm=ALPHA, logits=1 - ALPHA, hidden=0.0, relations=0.0),
    "default": Objective(),
}


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Measurements of each, interleaved; medians are kept.")
def main(rounds: int) -> None:
    """Measure, and write benchmarks/results/distill_speed/summary.json."""
    ways: dict[str, Callable[[], float]] = {"paper": _paper()}
    ways |= {name: _ours(objective) for name, objective in OBJECTIVES.items()}
    scratch = TemporaryDirectory(prefix="edgecompress-")
    ways["remembered"] = _ours(Objective(), Path(scratch.name))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            seconds[name].append(measure())
            click.echo(f"{name}: {seconds[name][-1]:.0f} tokens a second")
    speed = {name: round(median(found), 1) for name, found in seconds.items()}
    ratios = {name: round(speed[name] / speed["paper"], 1) for name in ways if name != "paper"}
    scratch.cleanup()
    row = {
        "ratio": ratios["default"], "tokens_per_second": speed["default"],
        "ratio_masked_losses": ratios["paper-losses"], "ratio_later_passes": ratios["remembered"],
        "median": speed, "all": seconds,
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1), "host": asdict(host()),
    }  # fmt: skip
    click.echo(f"ratio {ratios}")
    write_json(RESULTS / "summary.json", row)


def _model(vocabulary: int, layers: int) -> XLMRobertaForMaskedLM:
    torch.manual_seed(0)
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = XLMRobertaConfig(
        vocab_size=vocabulary, num_hidden_layers=layers, max_position_embeddings=514, type_vocab_size=1, **none
    )
    return XLMRobertaForMaskedLM(config)


def _paper() -> Callable[[], float]:
    """Return a function that trains one step as the paper's code does, and tells its tokens a second."""
    teacher, student = _model(WHOLE, LAYERS).eval(), _model(WHOLE, KEPT_LAYERS).train()
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-4)

    def step() -> float:
        ids, labels = _masked(PAPER_SHAPE, WHOLE)
        began = time.perf_counter()
        logits = student(input_ids=ids).logits
        with torch.no_grad():
            target = teacher(input_ids=ids).logits
        mlm = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
        loss: Tensor = ALPHA * mlm + (1 - ALPHA) * F.mse_loss(logits, target)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        return ids.numel() / (time.perf_counter() - began)

    return step


def _ours(objective: Objective, memory: Path | None = None) -> Callable[[], float]:
    """Return a function that trains four steps with the stage's own trainer, and tells its tokens a second.

    With ``memory`` its steps are those of a later pass over the same text: the teacher has been asked before.
    """
    teacher, student = _model(TRIMMED, LAYERS), _model(TRIMMED, KEPT_LAYERS)
    module, steps = Distiller(student, teacher, objective), 4
    count = steps * OUR_SHAPE[0]
    text = _masked((count, OUR_SHAPE[1]), TRIMMED)[0]

    def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        ids = torch.tensor([row["input_ids"] for row in rows])
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        batch["sequence"] = torch.tensor([row["sequence"] for row in rows])
        return batch | ({"labels": _masked(OUR_SHAPE, TRIMMED)[1]} if objective.logits else {})

    def run() -> float:
        rows = Dataset.from_dict({"input_ids": text.tolist(), "sequence": list(range(count))})
        options = Training(steps=steps, batch_size=OUR_SHAPE[0], max_length=OUR_SHAPE[1], dropout=0.0)
        began = time.perf_counter()
        fit(module, Data(rows, collate), options, label="distill")
        return steps * OUR_SHAPE[0] * OUR_SHAPE[1] / (time.perf_counter() - began)

    if memory is not None:
        module.remember_in(memory, count, OUR_SHAPE[1])
        run()
    return run


def _masked(shape: tuple[int, int], vocabulary: int) -> tuple[Tensor, Tensor]:
    """Return random ids and masked-LM labels, both of ``shape``."""
    ids = torch.randint(5, vocabulary, shape)
    return ids, torch.where(torch.rand(shape) < MASKED, ids, IGNORED)


if __name__ == "__main__":
    main()
