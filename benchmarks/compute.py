"""How much arithmetic the training of retention.py's students takes, in operations.

    export EDGECOMPRESS_DATA=/the/folder
    python benchmarks/compute.py slk -o WORK

Minutes of two machines do not compare, nor do those of one machine with other work beside them; floating-point
operations do (2 for a multiplication and an addition). Counted for ``default`` and ``paper`` at each size: what PyTorch
counts in a forward pass of each stage's very shape (matrix products and attention), three times that where it is
trained, once where a teacher is asked, times the tokens that the stage goes over: steps × batch × length of packed
text, and of a task its examples with their copies and the unlabelled lines. Decoding to the vocabulary is counted at
the positions where it happens, and so are relations and the projections to a teacher's width. Left out: padding, what a
head starts from, least squares, validation and export. ``operations`` are those of one process on a CPU, which
remembers what the teacher said in the first pass over a text; ``operations_asked_again`` those of several processes, or
of a GPU, where it is asked in every pass. WORK holds the trimmed teacher. Results are in benchmarks/results/compute,
one file a language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import click
import torch
from retention_recipes import LANGUAGES, recipe_of_row
from rich.console import Console
from students import HEADLINE, PAPER_SIZES, ROOT, Entry, name_of
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from edgecompress import pipeline
from edgecompress import recipe as recipes
from edgecompress.commands.show import progress
from edgecompress.encoder import sources
from edgecompress.files import write_json
from edgecompress.options import Objective, Soft, Training
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example, read_examples
from edgecompress.training.data import task_dataset
from edgecompress.training.soft import unlabelled

RESULTS = ROOT / "benchmarks" / "results" / "compute"
MASKED = 0.15
READ = {"prune": 65_536, "truncate": 32_768}  # tokens


@dataclass(frozen=True)
class Shape:
    """Of an encoder."""

    layers: int
    hidden: int
    ffn: int
    heads: int


Counts = tuple[float, float]  # where the teacher is asked once of a text, and where in every pass
TEACHER = Shape(12, 384, 1536, 12)


@dataclass(frozen=True)
class Text:
    """What a language's recipe reads, as the trimmed teacher cuts it into tokens."""

    plan: recipes.Recipe
    tokenizer: PreTrainedTokenizerFast


@click.command()
@click.argument("language", type=click.Choice(LANGUAGES))
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path))
def main(language: str, output: Path) -> None:
    """Count, and write benchmarks/results/compute/LANGUAGE.json."""
    rows = []
    for kind in ("default", "paper"):
        for size in PAPER_SIZES:
            raw = row_of(language, kind, size)
            found = _stages(raw["stages"], _text(language, raw, output))
            total = {key: sum(stage[key] for stage in found) for key in ("operations", "operations_asked_again")}
            rows.append({"recipe": kind, "size": size, **total, "stages": found, "of": raw["stages"]})
            click.echo(f"{language} {kind} {size}: " + ", ".join(f"{count / 1e12:.0f}" for count in total.values()))
    write_json(RESULTS / f"{language}.json", {"language": language, "torch": torch.__version__, "rows": rows})


def row_of(language: str, kind: str, size: str) -> dict[str, Any]:
    """Return the recipe of a row, with the tasks alone that README.md compares."""
    raw = recipe_of_row(language, kind, size, 0)
    stages = [{**e, "tasks": [t for t in e["tasks"] if t in HEADLINE]} if "tasks" in e else e for e in raw["stages"]]
    return {**raw, "stages": [e for e in stages if e.get("tasks", True)]}


def _text(language: str, raw: Mapping[str, Any], output: Path) -> Text:
    trim = [entry for entry in raw["stages"] if name_of(entry) == "trim"]
    plan = recipes.parse({**raw, "stages": trim, "export": {}}, ROOT / "models" / f"e5-small-{language}", "compute")
    with progress(Console()), pipeline.exclusive(output / language):
        trimmed = pipeline.run(plan, output / language)["trim"]
    return Text(plan, sources.load(str(trimmed.folder)).tokenizer)


def _stages(entries: Sequence[Entry], text: Text) -> list[dict[str, Any]]:
    """Return what each stage takes, in order; those that train nothing and read nothing take nothing."""
    shapes, found, last, decodes = {"trim": TEACHER}, [], "trim", False
    for entry in entries:
        source = shapes[entry.get("from", last)]
        shape, last = _cut(source, entry), name_of(entry)
        shapes[last] = shape
        decodes = decodes or entry["stage"] == "adapt"
        teacher = shapes[entry["teacher"]] if "teacher" in entry else None
        if entry["stage"] == "finetune":
            counts = {f"{last}-{task}": _tuning(entry, task, (shape, teacher), text) for task in entry["tasks"]}
        elif entry["stage"] in READ:
            counts = {last: _reading(entry, source, len(text.tokenizer) if decodes else 0)}
        elif "training" in entry:
            counts = {last: _imitating(entry, shape, teacher or source, len(text.tokenizer))}
        else:
            counts = {}
        for name, (once, asked_again) in counts.items():
            found.append({"name": name, "operations": round(once), "operations_asked_again": round(asked_again)})
    return found


def _cut(shape: Shape, entry: Entry) -> Shape:
    return replace(shape, **{key: entry[key] for key in ("layers", "hidden", "ffn", "heads") if key in entry})


def _reading(entry: Entry, shape: Shape, vocabulary: int) -> Counts:
    """Return what choosing takes: importance goes forward and back, hidden states and refitting forward alone."""
    method, attention = entry.get("method", "activation"), entry.get("attention", "head-aligned")
    passes = 3
    if entry["stage"] == "truncate":
        passes = 3 * (attention != "first-k") + 2 * (method != "first-k")
    count = passes * READ[entry["stage"]] * forward(shape, 128, vocabulary, MASKED if vocabulary else 0.0)
    return count, count


def _imitating(entry: Entry, shape: Shape, teacher: Shape, vocabulary: int) -> Counts:
    """Return what an adaptation takes, or a distillation; where tokens are masked anew, its teacher is always asked."""
    training = Training(**entry["training"])
    length, tokens = training.max_length, training.steps * training.batch_size * training.max_length
    if entry["stage"] == "adapt":
        count = 3 * tokens * forward(shape, length, vocabulary, MASKED)
        return count, count
    goal = Objective(**entry.get("objective", {}))
    decoded = (1.0 if goal.logits_at == "all" else goal.mask) if goal.logits or goal.mlm else 0.0
    mine = 3 * tokens * (forward(shape, length, vocabulary, decoded) + _beside(goal, shape, teacher, length))
    said = forward(teacher, length, vocabulary, decoded if goal.logits else 0.0)
    said += _relations(teacher, length) if goal.relations else 0.0
    once = training.examples * length
    return mine + said * (min(tokens, once) if once and not decoded else tokens), mine + said * tokens


def _beside(goal: Objective, shape: Shape, teacher: Shape, length: int) -> float:
    """Return what imitation takes beside the student's own pass: projections, and relations."""
    pairs = {"all": shape.layers + 1, "middle-last": 2, "last": 1}[goal.hidden_layers] if goal.hidden else 0
    return pairs * _projection(shape, teacher) + (_relations(shape, length) if goal.relations else 0.0)


def _projection(shape: Shape, teacher: Shape) -> float:
    return 2.0 * shape.hidden * teacher.hidden


def _relations(shape: Shape, length: int) -> float:
    """Return the operations of a token: of queries, keys and values with their own kind."""
    return 3.0 * 2 * length * shape.hidden


def _tuning(entry: Entry, task: str, shapes: tuple[Shape, Shape | None], text: Text) -> Counts:
    training, (shape, teacher) = Training(**entry["training"]), shapes
    lengths = _lengths(entry, task, text, training.max_length)
    mine = sum(forward(shape, length, 0, 0.0) * length for length in lengths)
    theirs = 0.0
    if teacher:
        theirs = sum(forward(teacher, length, 0, 0.0) * length for length in lengths)
        mine += sum(lengths) * _projection(shape, teacher) if Soft(**entry.get("soft", {})).states else 0.0
    count = 3 * training.epochs * mine + theirs
    return count, count


def _lengths(entry: Entry, task: str, text: Text, limit: int) -> list[int]:
    """Return the tokens of each example, swapped copy and unlabelled line of a fine-tuning."""
    files = text.plan.tasks[task]
    row = TASKS[files.kind or task]
    examples = [Example(e.words, ()) for e in read_examples(files.train, row)]
    own = list(task_dataset(text.tokenizer, examples, (), row, limit)["length"])
    if "teacher" not in entry:
        return own
    soft = Soft(**entry.get("soft", {}))
    corpora = [text.plan.corpora[name] for name in entry["corpora"]]
    lines = [Example(words, ()) for words in unlabelled(corpora, row, soft.lines, seed=0, without=frozenset())]
    return own * (1 + soft.copies) + list(task_dataset(text.tokenizer, lines, (), row, limit)["length"])


def forward(shape: Shape, length: int, vocabulary: int, decoded: float) -> float:
    """Return the operations of a token in one forward pass over a text of this length, decoded at a share of tokens."""
    one, two = (_counted(shape, tokens) / tokens for tokens in (1, 2))  # attention grows with the length, evenly
    return one + (two - one) * (length - 1) + decoded * 2 * shape.hidden * (shape.hidden + vocabulary)


@cache
def _counted(shape: Shape, length: int) -> int:
    config = BertConfig(
        vocab_size=2,
        num_hidden_layers=shape.layers,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_attention_heads=shape.heads,
        attn_implementation="eager",
        pad_token_id=None,  # else transformers 4 looks for padding, in a tensor that has no values
    )
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        BertModel(config, add_pooling_layer=False)(input_ids=torch.zeros(1, length, dtype=torch.long))
    return int(counter.get_total_flops())


if __name__ == "__main__":
    main()
