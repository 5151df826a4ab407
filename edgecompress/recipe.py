"""A recipe: which teacher, which text, which tasks, which stages in which order. TOML, checked whole before any work.

name = "mine"
teacher = "e5-small"                  # a hub id, a folder, or the offline e5-small
data = "${MY_DATA:-data}"             # the folder that file names are relative to (default: the recipe's own)

[corpora.slk]
files = ["text/slk.txt.gz"]           # weight = 1.0, datasets = ["hf:NAME:COLUMN"]

[tasks.topic]                         # kind = "topic" unless named otherwise
train = ["topic/train.jsonl"]         # validation, test

[[stages]]                            # each works on the one before it, or on `from`
stage = "trim"
corpora = ["slk"]
size = 16000

[[stages]]
stage = "finetune"
name = "student"                      # `tasks` makes one stage a task (of multitask: one stage): student-topic, …
tasks = ["topic"]

[export]
stages = ["student"]
schemes = ["int8-tables4"]

[bench]
teacher = "teacher"
students = ["student"]
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecompress.binding import Context, bind, expand, near, tables
from edgecompress.corpus import Corpus
from edgecompress.encoder import e5_small
from edgecompress.errors import RecipeError
from edgecompress.export.schemes import SCHEMES
from edgecompress.options import TaskFiles
from edgecompress.recipe_data import corpora_of, tasks_of
from edgecompress.stages import STAGES

TEACHER = "teacher"  # the name of the teacher as it comes, for `from`
_TOP = ("name", "teacher", "data", "corpora", "tasks", "stages", "export", "bench")


@dataclass(frozen=True)
class Node:
    """One stage to run: ``stage`` with ``arguments`` on the result of ``source``; ``group`` is the entry's own name."""

    name: str
    stage: str
    source: str
    arguments: Mapping[str, Any]
    group: str


@dataclass(frozen=True)
class Recipe:
    """A checked recipe. ``exports``, ``students`` and ``baselines`` (students made without distillation, to
    compare) name groups of finetune stages.
    """

    name: str
    teacher: str
    nodes: tuple[Node, ...]
    corpora: Mapping[str, Corpus]
    tasks: Mapping[str, TaskFiles]
    exports: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    bench_teacher: str = ""
    students: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()

    def group(self, name: str) -> dict[str, Node]:
        """Return the finetune nodes of a group by the recipe's task name; two tasks may be of the same files."""
        names = {files: task for task, files in self.tasks.items()}
        found = [node for node in self.nodes if node.group == name and node.stage == "finetune"]
        return {node.name[len(name) + 1 :] or names[node.arguments["task"]]: node for node in found}


@dataclass
class _Draft:
    context: Context = field(default_factory=Context)
    nodes: list[Node] = field(default_factory=list)
    folder: Path = Path()

    @property
    def names(self) -> list[str]:
        return [TEACHER, *dict.fromkeys(node.name for node in self.nodes)]


def read(path: Path) -> Recipe:
    """Read and check a recipe file. Raises RecipeError naming every problem."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"recipe {path}: {error.strerror}: give the path of a TOML file") from error
    except ValueError as error:
        raise RecipeError(f"recipe {path} is not valid TOML: {error}") from error
    return parse(raw, path.parent, f"recipe {path}")


def parse(raw: Mapping[str, Any], folder: Path, what: str) -> Recipe:
    """Check a recipe given as nested tables; file names are relative to ``folder`` (or to its ``data``)."""
    draft = _Draft(folder=folder)
    context = draft.context
    for name in raw.keys() - set(_TOP):
        context.problem(f"no key {name!r}{near(name, _TOP)}")
    for name in ("teacher", "stages"):
        if not raw.get(name):
            context.problem(f"key {name!r} is missing")
    root = folder / expand(str(raw.get("data", "")), context)
    context.root = root
    context.corpora = corpora_of(tables(raw, "corpora", context), root, context)
    context.tasks = tasks_of(tables(raw, "tasks", context), root, context)
    entries = raw.get("stages", [])
    if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
        context.problem("'stages' must be a list of tables: write [[stages]]")
        entries = []
    for number, entry in enumerate(entries, 1):
        _entry(number, dict(entry), draft)
    export, bench = _ends(raw, draft)
    context.check(what)
    teacher = expand(str(raw["teacher"]), context)
    local = folder / teacher
    return Recipe(
        name=str(raw.get("name", folder.name)),
        teacher=str(local) if local.is_dir() else teacher,
        nodes=tuple(draft.nodes),
        corpora=context.corpora,
        tasks=context.tasks,
        exports=tuple(export.get("stages", ())),
        schemes=tuple(export.get("schemes", ())),
        bench_teacher=bench.get("teacher", ""),
        students=tuple(bench.get("students", ())),
        baselines=tuple(bench.get("baselines", ())),
    )


def _entry(number: int, entry: dict[str, Any], draft: _Draft) -> None:
    """Check one [[stages]] entry and add its node, or one node a task."""
    context, kind = draft.context, str(entry.pop("stage", ""))
    where = f"stage {number} ({kind or 'unnamed'})"
    if kind not in STAGES:
        context.problem(f"{where}: no stage {kind!r}{near(kind, STAGES)}")
        return
    group = str(entry.pop("name", kind))
    source = str(entry.pop("from", draft.names[-1]))
    if source not in draft.names:
        context.problem(f"{where}: `from` names no earlier stage {source!r}{near(source, draft.names)}")
    tasks = entry.pop("tasks", None) if kind == "finetune" else None
    if tasks is not None and not (isinstance(tasks, list) and tasks and "task" not in entry):
        context.problem(f"{where}: tasks is {tasks!r}: give a list of one task or more, and no `task` beside it")
        return
    for task in tasks or [None]:
        given = entry if task is None else {**entry, "task": task}
        name = group if task is None else f"{group}-{task}"
        if name in draft.names or not re.fullmatch(r"[\w.-]+", name):
            context.problem(f"{where}: the name {name!r} is taken or not made of letters, digits, '.', '-', '_'")
        if "teacher" in given and kind == "multitask":
            given = {**given, "teacher": _teachers(given["teacher"], given.get("tasks"), where, draft)}
        elif "teacher" in given and kind in ("distill", "finetune"):
            given = {**given, "teacher": _teacher(given["teacher"], task, where, draft)}
        found = len(context.problems)
        arguments = bind(STAGES[kind].run, given, where, context)
        if len(context.problems) == found:
            for problem in STAGES[kind].check(arguments):
                context.problem(f"{where}: {problem}")
        draft.nodes.append(Node(name, kind, source, arguments, group))


def _teacher(value: Any, task: str | None, where: str, draft: _Draft) -> Any:
    """Return an earlier stage's name (of a finetune entry with `tasks`: that for ``task``), or the path of a folder or
    the hub id that ``teacher`` names.
    """
    if f"{value}-{task}" in draft.names:
        return f"{value}-{task}"
    if not isinstance(value, str) or value in draft.names:
        return value
    ref = expand(value, draft.context)
    local = draft.folder / ref
    if not local.is_dir() and "/" not in ref and ref != e5_small.NAME:
        draft.context.problem(
            f"{where}: `teacher` names no earlier stage and no folder {ref!r}{near(ref, draft.names)}"
        )
    return str(local) if local.is_dir() else ref


def _teachers(value: Any, tasks: Any, where: str, draft: _Draft) -> Any:
    """Return a teacher for each of ``tasks``: of the finetune entry that ``value`` names, or the listed ones."""
    if isinstance(value, list):
        return [_teacher(one, None, where, draft) for one in value]
    if not isinstance(value, str) or not isinstance(tasks, list):
        return value
    missing = [str(task) for task in tasks if f"{value}-{task}" not in draft.names]
    if missing:
        draft.context.problem(
            f"{where}: `teacher` {value!r} was fine-tuned for no task {', '.join(map(repr, missing))}: add it to the "
            "`tasks` of an earlier finetune stage of that name, or list a teacher for each task"
        )
        return []
    return [f"{value}-{task}" for task in tasks]


def _ends(raw: Mapping[str, Any], draft: _Draft) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Check [export] and [bench]: they name groups of finetune stages, and schemes."""
    context = draft.context
    groups = list(dict.fromkeys(node.group for node in draft.nodes if node.stage == "finetune"))
    ends = []
    for part, keys in (("export", ("stages", "schemes")), ("bench", ("teacher", "students", "baselines"))):
        table = raw.get(part, {})
        if not isinstance(table, Mapping):
            context.problem(f"{part!r} must be a table: write [{part}]")
            table = {}
        for key in table.keys() - set(keys):
            context.problem(f"{part}: no option {key!r}{near(key, keys)}")
        ends.append(table)
    export, bench = ends
    teacher = [bench["teacher"]] if bench.get("teacher") else []
    named = [*_list(export, "export.stages", context), *teacher]
    for key in ("students", "baselines"):
        named += _list(bench, f"bench.{key}", context)
    for name in named:
        if name not in groups:
            context.problem(f"export/bench: no finetune stage {name!r}{near(str(name), groups)}")
    for scheme in _list(export, "export.schemes", context):
        if scheme not in SCHEMES:
            context.problem(f"export.schemes: no scheme {scheme!r}{near(str(scheme), SCHEMES)}")
    return export, bench


def _list(table: Mapping[str, Any], where: str, context: Context) -> list[Any]:
    value = table.get(where.partition(".")[2], [])
    if not isinstance(value, list):
        context.problem(f"{where}: {value!r} is not a list")
        return []
    return value
