"""Remake the published figures, one step after the other: `python benchmarks/all.py -o WORK`.

    python benchmarks/all.py --dry-run              # the steps, what they need, how long they take
    python benchmarks/all.py -o WORK --only harness # one group
    python benchmarks/all.py -o WORK                # all of them: more than a day on two cores

WORK keeps what a step has done: stop it and run it again, it goes on. A step that fails is told, and the rest goes on.
Steps that need EDGECOMPRESS_DATA (a folder laid out as models/DATA.md says) or the environment of `make test-optimum`
are left out where it is not there, and said so. No step makes results/retention/exploration.json, a lab note, nor
results/lengths and results/long_texts/mlt-ner.json: their students were distilled otherwise than in any recipe here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
OPTIMUM = ROOT / ".venv-optimum" / "bin" / "optimum-cli"
DEMO = "{work}/demo/artifacts"
STUDENTS = " ".join(f"{DEMO}/student-{task}-int8-tables4" for task in ("topic", "sentiment", "ner"))


@dataclass(frozen=True)
class Step:
    """A command with {work}, {data} and {optimum} for its places; ``takes`` is of two cores."""

    command: str
    takes: str


STEPS: Mapping[str, tuple[Step, ...]] = {
    "demo": (
        Step("-m edgecompress demo -o {work}/demo", "half an hour"),
        Step("-c \"import shutil; shutil.copy('{work}/demo/bench.json', 'benchmarks/results/demo.json')\"", "no time"),
    ),
    "harness": (
        Step("benchmarks/harness.py clock " + DEMO + "/student-topic-int8-tables4", "2 minutes"),
        Step(
            f"benchmarks/harness.py repeat --teacher teacher={DEMO}/teacher-topic-fp32 "
            f"student={DEMO}/student-topic-fp32 int8={DEMO}/student-topic-int8-tables4",
            "3 minutes",
        ),
        Step("benchmarks/harness.py summary", "no time"),
    ),
    "structure": (Step("benchmarks/structure.py xlmr", "2 minutes"), Step("benchmarks/structure.py mbert", "1 minute")),
    "tokenizer": tuple(
        Step(f"benchmarks/tokenizer.py {what}", "10 minutes")
        for what in ("quality", "speed", "cut", "memory", "summary")
    ),
    "distill_speed": (Step("benchmarks/distill_speed.py", "15 minutes"),),
    "retention": (
        *(
            Step(f"benchmarks/retention.py run {language} --recipe {kind} --split test -o {{work}}/retention", "1 hour")
            for language in ("slk", "mlt", "swh")
            for kind in ("teacher", "default", "default --size moderate", "paper", "cut-only", "scratch")
        ),
        *(
            Step(f"benchmarks/retention.py run {language} --seed {seed} --split test -o {{work}}/retention", "1 hour")
            for language in ("slk", "mlt", "swh")
            for seed in (1, 2)
        ),
        *(
            Step(f"benchmarks/retention.py run {row} --split test -o {{work}}/retention", "1 hour")
            for row in ("mlt --recipe distilled", "slk --recipe distilled", "mlt --recipe taught")
        ),
        *(
            Step(
                f"benchmarks/retention.py run {language} --recipe teacher --repeat {again} --split test "
                f"-o {{work}}/retention-again{again}",
                "30 minutes",
            )
            for language, again in (("slk", 1), ("mlt", 1), ("swh", 1), ("mlt", 2))
        ),
        Step("benchmarks/retention.py run slk --size shallow -o {work}/retention", "1 hour"),
        *(
            Step(f"benchmarks/compute.py {language} -o {{work}}/retention", "1 minute")
            for language in ("slk", "mlt", "swh")
        ),
        Step("benchmarks/retention.py summary", "no time"),
    ),
    "long_texts": (
        Step(
            "benchmarks/long_texts.py mlt-pos --test {data}/pos/mlt_Latn/test.jsonl "
            "teacher={work}/retention/mlt/artifacts/teacher-pos-fp32 "
            "student={work}/retention/mlt/artifacts/default-maximum-s0-pos-fp32",
            "5 minutes",
        ),
    ),
    "models": (
        Step("-m edgecompress run models/e5-small-slk/recipe.toml -o {work}/e5-small-slk", "90 minutes"),
        Step(
            "-c \"import shutil; shutil.copy('{work}/e5-small-slk/bench.json', "
            "'benchmarks/results/models/e5-small-slk.json')\"",
            "no time",
        ),
    ),
    "ablations": (
        Step("benchmarks/ablations.py run --again -o {work}/ablations", "4 hours"),
        Step("benchmarks/ablations.py run --only base --only default --seeds 3 -o {work}/ablations", "1 hour"),
        Step("benchmarks/ablations.py summary", "no time"),
    ),
    "slovak": (Step("benchmarks/harness.py slovak {work}/retention/slk -o {work}/slovak", "10 minutes"),),
    "quantize": (
        Step("benchmarks/quantize.py speed --optimum-cli {optimum} -o {work}/quantize", "5 minutes"),
        Step(
            "benchmarks/quantize.py scores slk --models {work}/retention/slk --free {work}/retention/slk "
            "--optimum-cli {optimum} -o {work}/quantize",
            "10 minutes",
        ),
        Step(
            "benchmarks/quantize.py ladder {work}/retention/slk/artifacts/default-maximum-s0-ner-fp32 "
            "--validation {data}/ner/slk_Latn/validation.jsonl -o {work}/quantize",
            "10 minutes",
        ),
        Step("benchmarks/quantize.py summary", "no time"),
    ),
    "serve": (
        Step(f"benchmarks/serve.py load {DEMO}/student-topic-int8-tables4 {DEMO}/student-topic-fp32", "2 minutes"),
        Step(f"benchmarks/serve.py fuzz {STUDENTS}", "15 minutes"),
        Step(f"benchmarks/serve.py soak --minutes 40 {STUDENTS}", "40 minutes"),
        Step("benchmarks/serve.py summary", "no time"),
    ),
    "footprint": (
        Step(
            f"benchmarks/footprint.py {DEMO}/student-topic-fp32 {{work}}/demo/stages/student-topic "
            "-o {work}/footprint",
            "15 minutes",
        ),
    ),
    "arm": (Step("benchmarks/arm.py " + DEMO + " --fewer 50 -o {work}/arm", "1 hour"),),
    "page": (Step("benchmarks/page.py " + DEMO + " -o {work}/page", "10 minutes"),),
    "texts": (Step("benchmarks/readme.py", "no time"), Step("benchmarks/cards.py", "no time")),
}


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(STEPS)), help="These groups (repeatable).")
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="WORK, a folder to go on in.")
@click.option("--dry-run", is_flag=True, help="Show the steps.")
def main(only: tuple[str, ...], output: Path | None, *, dry_run: bool) -> None:
    """Remake the figures of benchmarks/results, README.md and models/*/card.md."""
    if output is None and not dry_run:
        raise click.UsageError("give -o WORK, a folder for what the steps make, or --dry-run")
    places = {
        "work": str(output.absolute() if output else "WORK"),
        "data": os.environ.get("EDGECOMPRESS_DATA", ""),
        "optimum": str(OPTIMUM),
    }
    failed = []
    for group in only or STEPS:
        for step in STEPS[group]:
            words = _words(step, places)
            click.echo(f"[{group}, {step.takes}] python {' '.join(words)}")
            if lacking := _lacking(group, step):
                click.echo(f"  left out: {lacking}")
            elif not dry_run and subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode:
                failed.append(" ".join(words))
    if failed:
        raise click.ClickException(f"failed: {'; '.join(failed)}")


def _words(step: Step, places: Mapping[str, str]) -> list[str]:
    import shlex

    return [word.format(**places) for word in shlex.split(step.command)]


def _lacking(group: str, step: Step) -> str:
    """Return what a step needs that is not here."""
    if (
        group in ("structure", "tokenizer", "retention", "models", "ablations", "slovak")
        and "summary" not in step.command
    ):
        return "" if os.environ.get("EDGECOMPRESS_DATA") else "EDGECOMPRESS_DATA is not set"
    if "{data}" in step.command and not os.environ.get("EDGECOMPRESS_DATA"):
        return "EDGECOMPRESS_DATA is not set"
    return "" if "{optimum}" not in step.command or OPTIMUM.is_file() else "run `make test-optimum` once"


if __name__ == "__main__":
    main()
