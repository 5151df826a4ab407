"""What each choice of arXiv 2505.16956 gives, one changed at a time: its ablations, on this project's teacher.

    export EDGECOMPRESS_DATA=/the/folder
    python benchmarks/ablations.py run -o WORK
    python benchmarks/ablations.py summary

The paper's first distillation alone, e5-small to 6 layers in Slovak: how the student starts (stride, first, last,
random weights), the distance between logits (MSE, KL), α between masked LM and logits, the teacher adapted to the
language or not, the vocabulary trimmed first or last. This teacher has no masked-LM head; where the encoder is not
adapted, a head is fitted to it as it is. Training is shorter than the paper's by far, the same for all rows. Each
student is then fine-tuned on a part of three tasks, seed by seed, without a teacher; scores are of the validation
splits. Rows that WORK or the results hold already are not made again: stop it, run it again, and it goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import click
import torch
from rich.console import Console
from students import ROOT, Entry, name_of, random_weights, shipped

from edgecompress import pipeline
from edgecompress import recipe as recipes
from edgecompress.bench.host import host
from edgecompress.commands.show import progress
from edgecompress.encoder import sources
from edgecompress.encoder.bundle import read_history
from edgecompress.encoder.surgery import keep_layers
from edgecompress.files import write_json

RESULTS = ROOT / "benchmarks" / "results" / "ablations"
SHIPPED = ROOT / "models" / "paper-e5-small"
TASKS = ("sentiment", "ner", "pos")
SEEDS = (0, 1, 2)
LAYERS = 6
TUNING = {"epochs": 3, "examples": 2000, "batch_size": 16, "learning_rate": 2e-4}


@dataclass(frozen=True)
class Variant:
    """One row: what is changed, options of ``adapt`` and ``distill``, and where the student and the trim come from."""

    choice: str
    value: str
    adapt: Mapping[str, Any] = field(default_factory=dict)
    distill: Mapping[str, Any] = field(default_factory=dict)
    objective: Mapping[str, Any] = field(default_factory=dict)
    start: str = "layers"
    trim: str = "first"


VARIANTS: Mapping[str, Variant] = {
    "base": Variant("the paper's", "stride, MSE, α 0.5, adapted, trimmed first"),
    "first": Variant("start", "first layers", distill={"select": "first-k"}),
    "last": Variant("start", "last layers", distill={"select": "last-k"}),
    "random": Variant("start", "random weights", start="random"),
    "kl": Variant("loss", "KL", objective={"logits_loss": "kl"}),
    "alpha-0": Variant("α", "0 (logits alone)", objective={"mlm": 0.0, "logits": 1.0}),
    "alpha-25": Variant("α", "0.25", objective={"mlm": 0.25, "logits": 0.75}),
    "alpha-75": Variant("α", "0.75", objective={"mlm": 0.75, "logits": 0.25}),
    "alpha-100": Variant("α", "1 (masked LM alone)", objective={"mlm": 1.0, "logits": 0.0}),
    "frozen": Variant("teacher", "not adapted", adapt={"encoder": "frozen"}),
    "trim-last": Variant("trim", "last", trim="last"),
    "undistilled": Variant("none", "layers cut, no distillation", distill={"training": {"steps": 0}}),
}


@click.group()
def main() -> None:
    """Measure, and write benchmarks/results/ablations/*.json."""


@main.command()
@click.option("--only", "names", multiple=True, type=click.Choice(list(VARIANTS)), help="Rows to make. Default: all.")
@click.option("--steps", default=600, show_default=True, type=click.IntRange(1), help="Of adapting and of distilling.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path))
def run(names: Sequence[str], steps: int, output: Path) -> None:
    """Make the students, row by row, and score them."""
    for name in names or VARIANTS:
        with progress(Console()), pipeline.exclusive(output):
            found = _row(name, steps, output)
        write_json(RESULTS / f"{name}.json", found)
        click.echo(f"{name}: " + ", ".join(f"{task} {mean(scores):.1f}" for task, scores in found["scores"].items()))


def _row(name: str, steps: int, out: Path) -> dict[str, Any]:
    variant = VARIANTS[name]
    before, student = _stages(name, variant, steps)
    raw = {**_common(), "name": name}
    if variant.start == "random":
        pipeline.run(_plan({**raw, "stages": before}), out)
        raw["teacher"], before = str(_random(pipeline.folder_of(out, before[-1]["name"]), out)), []
    tunes = [_tuning(f"{name}-s{seed}", student[-1]["name"], seed) for seed in SEEDS]
    pipeline.run(_plan({**raw, "stages": [*before, *student, *tunes]}), out)
    results = {task: [_best(pipeline.folder_of(out, f"{name}-s{seed}-{task}")) for seed in SEEDS] for task in TASKS}
    return {
        "choice": variant.choice, "value": variant.value, "scores": results, "steps": steps, "tuning": TUNING,
        "threads": torch.get_num_threads(), "host": asdict(host()),
    }  # fmt: skip


def _stages(name: str, variant: Variant, steps: int) -> tuple[list[Entry], list[Entry]]:
    """Return the stages up to the adapted teacher, shared by many rows, and those of the row's student."""
    of = {name_of(entry): entry for entry in reversed(shipped(SHIPPED.name)["stages"])}
    adapted = "-".join(["adapt", *variant.adapt.values(), *(["whole"] if variant.trim == "last" else [])])
    adapt = {**of["adapt"], **variant.adapt, "name": adapted, "training": {**of["adapt"]["training"], "steps": steps}}
    distill = {
        **of["distill"], **variant.distill, "name": f"distill-{name}", "from": adapted, "layers": LAYERS,
        "objective": {**of["distill"]["objective"], **variant.objective},
        "training": {**of["distill"]["training"], "steps": steps, **variant.distill.get("training", {})},
    }  # fmt: skip
    if variant.start == "random":
        distill = {key: value for key, value in distill.items() if key not in ("from", "layers", "select")}
    if variant.trim == "last":
        return [adapt], [distill, {**of["trim"], "name": "trimmed-last"}]
    return [of["trim"], adapt], [distill]


def _random(adapted: Path, out: Path) -> Path:
    """Write a student of the same shape as the others with random weights, and return its folder."""
    teacher = sources.load(str(adapted))
    return random_weights(keep_layers(teacher.model, list(range(LAYERS))), teacher.tokenizer, out / "random", 0)


def _tuning(name: str, source: str, seed: int) -> Entry:
    training = {**TUNING, "seed": seed}
    return {"stage": "finetune", "name": name, "from": source, "tasks": list(TASKS), "training": training}


def _best(folder: Path) -> float:
    """Return the validation score of the epoch that was kept."""
    return round(float(read_history(folder)[-1].details["best"]), 2)


def _plan(raw: Mapping[str, Any]) -> recipes.Recipe:
    return recipes.parse(dict(raw), SHIPPED, "ablations")


def _common() -> dict[str, Any]:
    paper = shipped(SHIPPED.name)
    return {key: paper[key] for key in ("teacher", "data", "corpora")} | {
        "tasks": {task: paper["tasks"][task] for task in TASKS},
    }


@main.command()
def summary() -> None:
    """Put the rows together: summary.json, from which README.md's table is written."""
    rows = []
    for name in VARIANTS:
        path = RESULTS / f"{name}.json"
        if not path.exists():
            click.echo(f"{name} has not been run: python benchmarks/ablations.py run --only {name} -o WORK")
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        by_seed = [mean(found["scores"][task][at] for task in TASKS) for at in range(len(SEEDS))]
        scores = {task: round(mean(found["scores"][task]), 2) for task in TASKS}
        spread = {"mean": round(mean(by_seed), 2), "stdev": round(stdev(by_seed), 2), "seeds": len(SEEDS)}
        rows.append({"name": name, **{k: found[k] for k in ("choice", "value", "steps")}, **scores, **spread})
    write_json(RESULTS / "summary.json", {"rows": rows})


if __name__ == "__main__":
    main()
