"""One command a stage, its options read off the stage's signature."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shutil
import time
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

import click

from edgecompress.binding import Context, bind, nested, parameters
from edgecompress.commands.show import progress, sizes, terminal, validated
from edgecompress.corpus import HUB, Corpus, check
from edgecompress.errors import InputError
from edgecompress.extras import require
from edgecompress.files import named_path, new_folder
from edgecompress.options import TaskFiles
from edgecompress.report.vocabulary import saved
from edgecompress.stages import STAGES
from edgecompress.tasks import TASKS

_MODEL = click.argument("model")
_OUTPUT = click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Result."
)
_CORPUS = (
    click.Option(
        ["--corpus"],
        multiple=True,
        metavar="[NAME=]FILE",
        help="Text: .txt, .jsonl, .parquet, .gz, or hf:DATASET[:CONFIG]:COLUMN; repeat.",
    ),
    click.Option(["--weight"], multiple=True, metavar="NAME=NUMBER", help="Weight of a named corpus; default 1."),
)
_TASK = (
    click.Option(["--task"], type=click.Choice(list(TASKS)), required=True, help="What to train for."),
    click.Option(["--train"], multiple=True, required=True, metavar="FILE", help="JSON lines: the training split."),
    click.Option(["--validation"], multiple=True, required=True, metavar="FILE", help="The validation split."),
    click.Option(["--test"], multiple=True, metavar="FILE", help="The test split: kept out of what --corpus gives."),
)
_SPLITS = ("train", "validation", "test")
_TASKS = tuple(
    click.Option([f"--{split}"], multiple=True, required=split != "test", metavar="TASK=FILE", help=text)
    for split, text in zip(
        _SPLITS,
        (
            f"A task ({', '.join(TASKS)}) and its training split, JSON lines; repeat.",
            "Its validation split.",
            "Its test split: kept out of what --corpus gives.",
        ),
        strict=True,
    )
)

_HELP = {
    "head": "where it starts: fitted to the encoder, at random, or as `multitask` left it",
    "encoder": "trained too, or as it is",
    "alpha": "exponent of a task's number of examples in its share of the batches, at first",
    "alpha_end": "the same, in the last epoch",
    "layers": "how many layers the student keeps",
    "select": "which layers",
    "teacher": "fine-tuned model folder whose predictions are learnt",
    "Objective.lengths": "tokens of a sequence, a divisor of max-length; several share the text evenly (repeatable)",
    "distill.teacher": "model folder to imitate; by default MODEL itself",
    "share": "share of the loss that is the teacher's word, the rest is the true labels'",
    "soft_temperature": "softens both sides' probabilities",
    "copies": "unlabelled copies of each example, with swapped tokens",
    "states": "weight of the distance to the teacher's last hidden states",
    "swap": "share of a copy's tokens that are swapped for near ones",
    "lines": "unlabelled lines of --corpus that the teacher labels",
    "mlm": "weight of the masked-LM loss",
    "logits": "weight of the distance to the teacher's masked-LM logits",
    "logits_loss": "how that distance is measured",
    "logits_at": "at the masked positions, or at all (as arXiv 2505.16956)",
    "temperature": "softens both logits for kl",
    "hidden": "hidden size to cut to",
    "Objective.hidden": "weight of the distance to the teacher's hidden states",
    "hidden_layers": "which layers' hidden states are imitated",
    "relations": "weight of the MiniLMv2 self-relation loss",
    "relation_heads": "heads that relations are split into",
    "mask": "share of tokens that are masked and scored",
    "steps": "optimiser steps",
    "epochs": "passes over the data, where steps is 0",
    "examples": "at most so many sequences or examples, drawn evenly; 0: all",
    "batch_size": "sequences a step, of each process where several train",
    "learning_rate": "peak of the linear schedule",
    "warmup": "share of the steps that it rises",
    "weight_decay": "AdamW's",
    "max_length": "tokens a sequence",
    "dropout": "replaces the model's own rates in training",
    "precision": "bf16 where the hardware has it, or always fp32",
    "seed": "of everything random",
    "ffn": "neurons a layer to keep",
    "heads": "heads a layer to keep",
    "tokens": "how much text the choice is made on",
    "size": "tokens to keep at most, specials included",
    "min_count": "tokens seen less often go",
    "min_documents": "tokens seen in fewer lines go",
    "keep": "a token that must stay; repeat",
    "coverage": "share of the text's tokens to keep, by the most frequent; 0.9999 drops the rarest",
    "keep_files": "a file of tokens that must stay, one a line; repeat",
    "alphabet": "a language (sk, mt) whose letters stay, by CLDR; repeat",
    "letters": "further characters that stay",
    "fill": "what fills up to --size: unseen tokens by rank, or only those in the text's scripts",
    "method": "how hidden dimensions are chosen",
    "attention": "how the places inside heads are chosen",
}


def command(name: str) -> click.Command:
    """Return the command of the stage called ``name``: MODEL, -o OUTPUT, and the stage's own options."""
    function = STAGES[name].run
    groups = [(p, list(_options(p, name))) for p in parameters(function).values()]

    def body(model: str, output: Path, **given: Any) -> None:
        _run(name, model, output, _arguments(name, given))

    text = re.split(r"\bRaises\s", inspect.getdoc(function) or "")[0].replace("``", "")
    made = _MODEL(_OUTPUT(click.command(name, help=text, epilog=_in_recipes(groups))(body)))
    made.params.extend(option for _, options in groups for option in options)
    return made


def _in_recipes(groups: Sequence[tuple[inspect.Parameter, Sequence[click.Option]]]) -> str:
    """Return in which tables of a recipe the options stand that a command has side by side."""
    named = {Corpus: "[corpora.NAME]", TaskFiles: "[tasks.NAME]"}
    parts = []
    for parameter, options in groups:
        home = named.get(_plain_kind(parameter.annotation)) or (nested(parameter) and f"{parameter.name} = {{ … }}")
        if home:
            first, last = options[0].opts[0], options[-1].opts[0]
            parts.append(f"{first} {'to' if options[2:] else 'and'} {last} in {home}")
    return f"In a recipe: {', '.join(parts)}, the others in the stage's own table; names have _ where flags have -."


def _options(parameter: inspect.Parameter, stage: str) -> Iterator[click.Option]:
    kind = _plain_kind(parameter.annotation)
    if kind is Corpus:
        yield from _CORPUS
    elif kind is TaskFiles:
        yield from _TASK if parameter.annotation is kind else _TASKS
    elif parameter.name == "teacher" and parameter.annotation is not str:
        yield click.Option(["--teacher"], multiple=True, metavar="TASK=FOLDER", help=_HELP["teacher"] + "; repeat")
    elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            help_key = f"{kind.__name__}.{field.name}"
            yield _option(field.name, hints[field.name], getattr(parameter.default, field.name), help_key)
    else:
        yield _option(parameter.name, parameter.annotation, parameter.default, f"{stage}.{parameter.name}")


def _plain_kind(annotation: Any) -> Any:
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is tuple else annotation


def _option(name: str, annotation: Any, default: Any, help_key: str = "") -> click.Option:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        annotation = next(a for a in arguments if a is not type(None))
    kind = click.Choice(list(arguments)) if origin is Literal else _plain_kind(annotation)
    kind = str if kind is Path else kind  # the binding makes it a path
    required = default is inspect.Parameter.empty
    shown = [] if required or default in (None, (), "") else [f"default {default}"]
    said = _HELP.get(help_key) or _HELP.get(name)
    text = "; ".join([*([said] if said else []), *shown])
    return click.Option(
        [f"--{name.replace('_', '-')}"], type=kind, required=required, multiple=origin is tuple, help=text
    )


def _arguments(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Turn flat command-line values into the nested tables that recipes use, and check them the same way."""
    function, context = STAGES[name].run, Context()
    table: dict[str, Any] = {}
    values = {key: value for key, value in given.items() if value not in (None, ())}
    for option, parameter in parameters(function).items():
        kind = _plain_kind(parameter.annotation)
        if kind is Corpus:
            context.corpora = _corpora(values.get("corpus", ()), values.get("weight", ()))
            if context.corpora or parameter.default is parameter.empty:
                table[option] = list(context.corpora)
        elif kind is TaskFiles and parameter.annotation is not kind:
            context.tasks = _tasks(values)
            table[option] = list(context.tasks)
            values["teacher"] = _teachers(values.get("teacher", ()), context.tasks)
        elif kind is TaskFiles:
            files = {split: tuple(map(Path, values.get(split, ()))) for split in _SPLITS}
            context.tasks, table[option] = {"task": TaskFiles(values["task"], **files)}, "task"
        elif dataclasses.is_dataclass(kind):
            table[option] = {f.name: values[f.name] for f in dataclasses.fields(kind) if f.name in values}
        elif option in values:
            table[option] = values[option]
    arguments = bind(function, table, name, context)
    context.check("options")
    for problem in STAGES[name].check(arguments):
        context.problem(problem)
    context.check("options")
    return arguments


def _tasks(given: Mapping[str, Sequence[str]]) -> dict[str, TaskFiles]:
    """Return the tasks of --train TASK=FILE by name, in their order, with their other splits."""
    found: dict[str, dict[str, tuple[Path, ...]]] = {}
    for split in _SPLITS:
        for text in given.get(split, ()):
            task, path = named_path(text)
            if task is None or task not in TASKS:
                raise InputError(f"--{split} {text}: give TASK=FILE, TASK being one of {', '.join(TASKS)}")
            if split != "train" and task not in found:
                raise InputError(f"--{split} {text}: there is no --train {task}=FILE")
            files = found.setdefault(task, {})
            files[split] = (*files.get(split, ()), Path(path))
    if lacking := [task for task, files in found.items() if "validation" not in files]:
        raise InputError(f"no --validation {lacking[0]}=FILE: every task needs one")
    return {task: TaskFiles(task, **files) for task, files in found.items()}


def _teachers(given: Sequence[str], tasks: Mapping[str, TaskFiles]) -> tuple[str, ...]:
    """Return the folders of --teacher TASK=FOLDER in the order of ``tasks``; none where none is given."""
    named = dict(map(named_path, given))
    if unknown := [text for text in given if named_path(text)[0] not in tasks]:
        raise InputError(f"--teacher {unknown[0]}: give TASK=FOLDER, TASK being one of {', '.join(tasks)}")
    if lacking := [task for task in tasks if named and task not in named]:
        raise InputError(f"no --teacher {lacking[0]}=FOLDER: give one for each task, or none")
    return tuple(named[task] for task in tasks if named)


def _corpora(files: tuple[str, ...], weights: tuple[str, ...]) -> dict[str, Corpus]:
    named: dict[str, list[str]] = {}
    for text in files:
        name, _, source = text.rpartition("=")
        if not source.startswith(HUB) and not Path(source).is_file():
            raise InputError(f"--corpus {text}: no file {source!r}: give [NAME=]FILE, or [NAME=]hf:DATASET:COLUMN")
        named.setdefault(name or "text", []).append(source)
    factor = dict(_weight(text, named) for text in weights)
    return {name: _corpus(name, sources, factor.get(name, 1.0)) for name, sources in named.items()}


def _corpus(name: str, sources: list[str], weight: float) -> Corpus:
    paths = tuple(Path(source) for source in sources if not source.startswith(HUB))
    made = Corpus(name, paths, weight, tuple(source for source in sources if source.startswith(HUB)))
    check(made)
    return made


def _weight(text: str, known: Mapping[str, Any]) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = 0.0
    if name not in known or not weight > 0:
        raise InputError(f"--weight {text}: give NAME=NUMBER above 0 for a NAME of --corpus ({', '.join(known)})")
    return name, weight


def _run(name: str, model: str, output: Path, arguments: Mapping[str, Any]) -> None:
    require("torch", "transformers", "datasets", "accelerate", extra="compress")
    from edgecompress.encoder import sources
    from edgecompress.encoder.bundle import save
    from edgecompress.keys import model_key, stage_key, teachers_of, work_name
    from edgecompress.training.trainer import checkpoints_in

    console, began = terminal(), time.monotonic()
    key = stage_key(name, arguments, model_key(model), [model_key(one) for one in teachers_of(arguments)])
    # A stopped command goes on only if it is the same one.
    work = output.parent / f".{output.name}.work" / work_name(key)
    stage: Callable[..., Any] = STAGES[name].run
    with progress(console), new_folder(output) as draft, checkpoints_in(work):
        before = sources.load(model)
        after = stage(before, **arguments)
        seconds = round(time.monotonic() - began, 1)
        last = dataclasses.replace(after.history[-1], seconds=seconds, key=key)
        save(dataclasses.replace(after, history=(*after.history[:-1], last)), draft)
    shutil.rmtree(work.parent, ignore_errors=True)
    if name == "trim":
        for table in saved(last.details, (before.parameters, after.parameters)):
            console.print(table)
    console.print(f"{output}: {sizes(before.parameters, after.parameters)} in {seconds:.0f} s")
    if said := validated(last):
        console.print(said)
