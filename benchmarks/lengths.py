"""How far a distilled student is from its teacher, by the length of the text.

    python benchmarks/lengths.py NAME --text HELD-OUT.txt teacher=STAGE student=STAGE…

Lines of the text are joined to passages of at most so many tokens. A linear map from the student's last hidden states
to the teacher's (the first of the models) is fitted on passages of 64 tokens, of the first half of the lines; what it
leaves unexplained of the teacher's variance on passages of the second half is the student's error there: 0 is the
teacher itself, 1 no better than its mean state. The result is benchmarks/results/lengths/NAME.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from students import ROOT
from torch import Tensor, nn

from edgecompress.bench.host import host
from edgecompress.encoder import sources
from edgecompress.encoder.bundle import Bundle
from edgecompress.encoder.heads import encoder_of
from edgecompress.files import named_path, write_json
from edgecompress.training.projection import fit_linear

RESULTS = ROOT / "benchmarks" / "results" / "lengths"
LENGTHS = (32, 64, 96, 128, 192, 256, 512)  # tokens of a passage, at most
FITTED = 64  # tokens of the passages that the map is fitted on
ENOUGH = 6000  # tokens a length


@click.command()
@click.argument("name")
@click.argument("models", nargs=-1, required=True)
@click.option("--text", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(name: str, models: tuple[str, ...], text: Path) -> None:
    """Compare the MODELS after the first (each NAME=FOLDER, the first the teacher) with it."""
    (_, of_teacher), *others = map(named_path, models)
    teacher = sources.load(str(of_teacher))
    lines = [line.strip() for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]
    texts = texts_by_length(teacher, lines)
    theirs = states_by_length(teacher, texts)
    rows = []
    for called, folder in others:
        student = sources.load(str(folder))
        if student.tokenizer.get_vocab() != teacher.tokenizer.get_vocab():
            raise click.ClickException(f"{folder} has another vocabulary than {of_teacher}: take stages of one `trim`")
        errors = errors_by_length(states_by_length(student, texts), theirs)
        rows.append({"model": called or Path(folder).name, "errors": errors, "distilled": distillations(student)})
        click.echo(f"{rows[-1]['model']}: {errors}")
    write_json(RESULTS / f"{name}.json", {"name": name, "text": text.name, "rows": rows, "host": asdict(host())})


def distillations(student: Bundle) -> list[dict[str, Any]]:
    """Return the options of every distillation that the student went through, in order."""
    options = [step.options for step in student.history if step.stage == "distill"]
    return [{name: one[name] for name in ("objective", "training")} for one in options]


def texts_by_length(teacher: Bundle, lines: Sequence[str]) -> dict[str, list[list[int]]]:
    """Return the passages of the second half of the lines by their length; those to fit on are of the first half."""
    half = len(lines) // 2
    held_out = {str(length): passages(teacher, lines[half:], length)[: ENOUGH // length] for length in LENGTHS}
    return {"fit": passages(teacher, lines[:half], FITTED)[: 2 * ENOUGH // FITTED], **held_out}


@torch.no_grad()
def states_by_length(one: Bundle, texts: Mapping[str, Sequence[Sequence[int]]]) -> dict[str, Tensor]:
    """Return the last hidden states of all tokens, (tokens, hidden), of each group of texts."""
    encoder = encoder_of(one.model).eval()
    return {
        name: torch.cat([encoder(input_ids=torch.tensor([ids])).last_hidden_state[0] for ids in group])
        for name, group in texts.items()
    }


@torch.no_grad()
def errors_by_length(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the share of the teacher's variance that the student's states leave unexplained, by length."""
    layer = nn.Linear(mine["fit"].shape[1], theirs["fit"].shape[1])
    fit_linear(layer, mine["fit"], theirs["fit"])
    mean = theirs["fit"].mean(0)
    found = {}
    for length in (name for name in theirs if name != "fit"):
        left = (layer(mine[length]) - theirs[length]).square().sum() / (theirs[length] - mean).square().sum()
        found[length] = round(float(left), 3)
    return found


def passages(teacher: Bundle, lines: Sequence[str], length: int) -> list[list[int]]:
    """Return the ids of neighbouring lines, joined by a space as long as they fit into ``length`` tokens."""
    tokenizer, most = teacher.tokenizer, length - teacher.tokenizer.num_special_tokens_to_add()
    joined: list[list[str]] = [[]]
    left = most
    for line, ids in zip(lines, tokenizer(list(lines), add_special_tokens=False)["input_ids"], strict=True):
        if joined[-1] and len(ids) > left:
            joined.append([])
            left = most
        joined[-1].append(line)
        left -= len(ids)
    found = tokenizer([" ".join(part) for part in joined], truncation=True, max_length=length)["input_ids"]
    return [list(ids) for ids in found]


if __name__ == "__main__":
    main()
