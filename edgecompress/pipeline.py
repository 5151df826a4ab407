"""Running a recipe: every stage's result is an ordinary model folder, and what is done is not done again.

A result is recognised by its key: the hash of the stage, its options, the content of the files it reads, the key of
what it works on, and the code and libraries that made it. A stopped run, even one killed, goes on from the last
checkpoint of the stage it was in; a result appears in one step, whole.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgecompress.encoder.bundle import Bundle, read_history, save
from edgecompress.errors import InputError, OutputError
from edgecompress.files import new_folder, output_error, sweep, write_json
from edgecompress.keys import model_key, stage_key, teachers_of, work_name
from edgecompress.progress import report
from edgecompress.recipe import TEACHER, Node, Recipe
from edgecompress.runtime.session import usable_cores
from edgecompress.stages import STAGES
from edgecompress.training.steps import processes


@dataclass(frozen=True)
class Result:
    """A finished stage: where it lies, its key, and whether it was there already."""

    name: str
    folder: Path
    key: str
    reused: bool


def run(recipe: Recipe, out: Path, jobs: int = 1) -> dict[str, Result]:
    """Run every stage of ``recipe`` that ``out`` does not hold yet and return all results by name.

    ``jobs``: so many stages at a time, where they do not wait for each other, a process each. Under ``torchrun`` every
    process takes part in training and the first one writes. Raises OutputError when ``out`` cannot be written or
    another run is using it, InputError for several jobs under ``torchrun``, and whatever a stage raises.
    """
    if jobs > 1 and processes() > 1:
        raise InputError(f"--jobs {jobs}: under torchrun all processes train one stage together: leave it at 1")
    with exclusive(out):
        results = _side_by_side(recipe, out, jobs) if jobs > 1 else _one_by_one(recipe, out)
        report("stages", len(recipe.nodes), len(recipe.nodes), "done")
        if is_writer():  # all is done: what checkpoints are left belong to stages that were changed meanwhile
            shutil.rmtree(out / ".work", ignore_errors=True)
    return results


def _one_by_one(recipe: Recipe, out: Path) -> dict[str, Result]:
    results: dict[str, Result] = {}
    for number, node in enumerate(recipe.nodes):
        report("stages", number, len(recipe.nodes), node.name)
        key = _key(recipe, node, {name: one.key for name, one in results.items()})
        reused = _is_done(folder_of(out, node.name), key)
        if not reused:
            _make(recipe, node, out, key)
        results[node.name] = Result(node.name, folder_of(out, node.name), key, reused=reused)
    return results


def _side_by_side(recipe: Recipe, out: Path, jobs: int) -> dict[str, Result]:
    from edgecompress.side_by_side import Job, run_jobs

    keys: dict[str, str] = {}
    for node in recipe.nodes:
        keys[node.name] = _key(recipe, node, keys)
    results = {
        name: Result(name, folder_of(out, name), key, reused=_is_done(folder_of(out, name), key))
        for name, key in keys.items()
    }
    new = {node.name: node for node in recipe.nodes if not results[node.name].reused}
    work = [
        Job(
            name,
            frozenset({node.source, *teachers_of(node.arguments)} & set(new)),
            (recipe, node, out, keys[name]),
        )
        for name, node in new.items()
    ]
    done = len(recipe.nodes) - len(new)
    run_jobs(work, _make, jobs, cores=usable_cores(), tell=lambda ended, names: report(
        "stages", done + ended, len(recipe.nodes), names))  # fmt: skip
    return results


def folder_of(out: Path, name: str) -> Path:
    """Return where the result of a stage lies."""
    return out / "stages" / name


def _make(recipe: Recipe, node: Node, out: Path, key: str) -> None:
    folder = folder_of(out, node.name)
    bundle = _compute(recipe, node, out, key)
    if not is_writer():
        _wait_until_saved(folder, key)
        return
    with new_folder(folder, replace=True) as draft:
        save(bundle, draft)
    shutil.rmtree(_work(out, key), ignore_errors=True)


def _compute(recipe: Recipe, node: Node, out: Path, key: str) -> Bundle:
    """Run one stage on its source, loaded from disk: what a resumed run sees is what an uninterrupted one saw."""
    from edgecompress.encoder import sources
    from edgecompress.training.trainer import checkpoints_in

    source = _place(recipe, node.source, out)
    arguments = dict(node.arguments)
    if places := tuple(_place(recipe, name, out) for name in teachers_of(arguments)):
        arguments["teacher"] = places[0] if isinstance(arguments["teacher"], str) else places
    before, began = _seconds_before(_work(out, key)), time.monotonic()
    with checkpoints_in(_work(out, key)):
        bundle = STAGES[node.stage].run(sources.load(source), **arguments)
    last = replace(bundle.history[-1], seconds=round(before + time.monotonic() - began, 1), key=key)
    return replace(bundle, history=(*bundle.history[:-1], last))


def _place(recipe: Recipe, name: str, out: Path) -> str:
    """Return where the model lies that a stage works on, or learns from."""
    if name in {node.name for node in recipe.nodes}:
        return str(folder_of(out, name))
    return recipe.teacher if name == TEACHER else name


def _work(out: Path, key: str) -> Path:
    return out / ".work" / work_name(key)


def _seconds_before(work: Path) -> float:
    """Return the seconds that stopped runs put into the newest checkpoint in ``work``, and note that a run begins.

    What they did after that checkpoint is done again, so it does not count.
    """
    note = work / "began.json"
    written = [path.stat().st_mtime for path in work.glob("checkpoint-*/trainer_state.json")]
    before = 0.0
    if note.is_file() and written:
        last = json.loads(note.read_text(encoding="utf-8"))
        before = last["before"] + max(0.0, max(written) - last["at"])
    if is_writer():
        write_json(note, {"before": before, "at": time.time()})
    return float(before)


def _is_done(folder: Path, key: str) -> bool:
    history = read_history(folder) if folder.is_dir() else ()
    return bool(history) and history[-1].key == key


def _key(recipe: Recipe, node: Node, keys: Mapping[str, str]) -> str:
    """Return the content hash of everything that the result of ``node`` depends on; ``keys``: of the stages before."""

    def key_of(name: str) -> str:
        return keys[name] if name in keys else model_key(recipe.teacher if name == TEACHER else name)

    return stage_key(
        node.stage, node.arguments, key_of(node.source), [key_of(name) for name in teachers_of(node.arguments)]
    )


def is_writer() -> bool:
    """Whether this process writes: the only one, or the first of those that ``torchrun`` started."""
    return int(os.environ.get("RANK", "0")) == 0


def _wait_until_saved(folder: Path, key: str) -> None:
    """Wait until the writing process has saved what every process computed."""
    while not _is_done(folder, key):
        time.sleep(0.2)


@contextmanager
def exclusive(out: Path) -> Iterator[None]:
    """Hold ``out`` for this process alone, and sweep away what a killed one left half-written.

    A process that holds it already may enter again. Raises OutputError when another one holds it.
    """
    from filelock import FileLock, Timeout

    if not is_writer():
        yield
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock", is_singleton=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(f"{out} is in use by another run: wait for it, or choose another -o") from error
    except OSError as error:
        raise output_error(out, error) from error
    try:
        for folder in (out / "stages", out / "artifacts"):
            sweep(folder)
        yield
    finally:
        lock.release()
