"""`edgecompress bench`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecompress.commands.numbers import Finite
from edgecompress.commands.show import progress, terminal
from edgecompress.errors import InputError
from edgecompress.extras import is_there
from edgecompress.tasks import TASKS

if TYPE_CHECKING:
    from edgecompress.bench.cells import Plan
    from edgecompress.bench.results import Role
    from edgecompress.tasks.examples import Example

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_PRESETS = ("single-stream", "offline", "edge")


def command(name: str) -> click.Command:
    """Return the command called ``name``."""
    return {"bench": bench}[name]


@click.command()
@click.argument("subjects", nargs=-1, required=True)
@click.option("--teacher", help="Baseline of speedups and score differences.")
@click.option("--baseline", "baselines", multiple=True, help="A student made without distillation (repeatable).")
@click.option("--test", "tests", multiple=True, metavar="[TASK=]FILE", help="Test split, JSON lines (repeatable).")
@click.option("--tasks", help="Measure only these of the tasks, comma-separated.")
@click.option("--batch", default="1,8", show_default=True, help="Texts at a time.")
@click.option("--length", default="32,128", show_default=True, help="Tokens a text; `real`: texts of the test split.")
@click.option("--threads", default="1", show_default=True, help="0: all cores that this process may use.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="What it runs on.")
@click.option("--dtype", type=click.Choice(list(_DTYPES)), default="fp32", show_default=True, help="Of torch models.")
@click.option("--preset", type=click.Choice(_PRESETS), help="MLPerf's scenarios, or edge: 1 thread, 1×real.")
@click.option("--seconds", default=2.0, show_default=True, type=Finite(0),
              help="Minimum seconds per subject and setting.")  # fmt: skip
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Turns that they are spread over.")
@click.option("--iterations", default=50, show_default=True, type=click.IntRange(1),
              help="Minimum runs per subject and setting.")  # fmt: skip
@click.option("--time-limit", default=300.0, show_default=True, type=Finite(0, min_open=True),
              help="Seconds after which a subject that does not answer is ended.")  # fmt: skip
@click.option("-o", "--json", "target", type=click.Path(path_type=Path), help="Write the results there, as JSON.")
@click.pass_context
def bench(context: click.Context, /, subjects: Sequence[str], **options: Any) -> None:
    """Measure SUBJECTS beside --teacher: accuracy, size, latency, memory.

    A subject is [NAME=]PATH: an artifact (onnxruntime), a model folder (torch), or another's ONNX file. "{task}" in a
    path stands for each task: --test topic=a.jsonl --test ner=b.jsonl student=out/artifacts/student-{task}-int8. Every
    subject runs in a process of its own, and they take turns, so that speedups hold on a busy machine too. A subject
    that crashes, hangs or gives NaN is marked, and the rest is measured; one that cannot be opened at all is refused
    before the start. Memory and latency are those of the first task that all subjects have. Show results with
    `edgecompress report`.
    """
    from edgecompress.bench import harness
    from edgecompress.bench import results as files
    from edgecompress.bench.subjects import entries
    from edgecompress.files import check_writable
    from edgecompress.report.terminal import bench_tables

    console, target = terminal(), options["target"]
    if missing := _missing(options["device"]):
        click.echo(missing)  # one line, however narrow the terminal
        return
    if target:
        check_writable(target)
    specs: list[tuple[str, Role]] = [(options["teacher"], "teacher")] if options["teacher"] else []
    specs += [(spec, "baseline") for spec in options["baselines"]]
    specs += [(spec, "student") for spec in subjects]
    tests, only = _tests(options["tests"], subjects), options["tasks"]
    kinds = _tasks(only, tests)
    rows = entries(specs, kinds)
    examples = _examples(kinds, tests)
    plan = _plan(options, context)
    try:
        with progress(console, calm=True):
            found = harness.measure(rows, examples, plan, name=target.stem if target else "")
    except KeyboardInterrupt:
        click.echo("edgecompress: stopped; a benchmark keeps nothing of what was not finished", err=True)
        sys.exit(130)
    if target:
        files.write(target, found)  # before anything is printed, which may fail
    for table in bench_tables(found):
        console.print(table)
    if target:
        said = f"figures in {target}; next: edgecompress report {target} -o report.html"
        console.print(said)
    if not any(m.metric.startswith(("latency", "accuracy", "macro_f1", "span_f1")) for m in found.measurements):
        reasons = [one.reason for one in found.failures] or found.settings["left_out"]
        raise InputError(f"nothing could be measured: {reasons[0]}")


def _plan(options: Mapping[str, Any], context: click.Context) -> Plan:
    from edgecompress.bench.cells import Plan, lengths, numbers, preset

    typed = [name for name in ("batch", "length", "threads")
             if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]  # fmt: skip
    if options["preset"] and typed:
        raise InputError(f"--preset {options['preset']} sets --{typed[0]} itself: give one or the other")
    plan = Plan(
        batches=numbers(options["batch"], "--batch", 1),
        lengths=lengths(options["length"]),
        threads=numbers(options["threads"], "--threads", 0),
        seconds=options["seconds"],
        rounds=options["rounds"],
        iterations=options["iterations"],
        time_limit=options["time_limit"],
        device=options["device"],
        dtype=_DTYPES[options["dtype"]],
    )
    return preset(options["preset"], plan)


def _tests(given: Sequence[str], subjects: Sequence[str]) -> dict[str, list[Path]]:
    """Return the test files by task; a file without TASK= is for the task of the first subject that tells its own."""
    from edgecompress.bench.subjects import task_of
    from edgecompress.files import named_path

    found: dict[str, list[Path]] = {}
    for one in given:
        task, path = named_path(one)
        if task is None:
            task = next((kind for kind in map(task_of, subjects) if kind), "")
        if task not in TASKS:
            raise InputError(f"--test {one}: for which task is not known, give TASK=FILE with {', '.join(TASKS)}")
        found.setdefault(task, []).append(Path(path))
    return found


def _tasks(only: str | None, tests: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """Return the tasks to measure."""
    if only is None:
        return {task: task for task in tests}
    wanted = [task.strip() for task in only.split(",")]
    if unknown := [task for task in wanted if task not in TASKS]:
        raise InputError(f"--tasks {unknown[0]!r}: choose from {', '.join(TASKS)}")
    return {task: task for task in wanted}


def _examples(kinds: Mapping[str, str], tests: Mapping[str, Sequence[Path]]) -> dict[str, Sequence[Example]]:
    from edgecompress.tasks.examples import read_examples

    return {task: read_examples(tests[task], TASKS[kind]) for task, kind in kinds.items() if task in tests}


def _missing(device: str) -> str:
    """Return why nothing can be measured on this device; empty when it can."""
    import onnxruntime

    if device == "cpu" or "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return ""
    if is_there("torch"):
        import torch

        if torch.cuda.is_available():
            return ""
    return "skipped: no CUDA device here that torch or onnxruntime can use; nothing was measured"
