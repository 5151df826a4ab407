"""What commands share: progress (bars on a terminal, a line now and then in a file), lines of text, sizes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from edgecompress.progress import Event, Listener, listening
from edgecompress.records import Step
from edgecompress.report.words import short_metric
from edgecompress.tasks import TASKS

_EVERY = 15.0  # seconds between two lines of a task when there is no terminal


def terminal(*, quiet: bool = False) -> Console:
    """Return the console of a command: texts, names and shapes may hold brackets, which are no markup here."""
    return Console(markup=False, emoji=False, highlight=False, quiet=quiet)


@contextmanager
def progress(console: Console, *, calm: bool = False) -> Iterator[None]:
    """Show everything reported inside the block on ``console``; ``calm``: draw only then, as that disturbs a timing."""
    if not console.is_terminal:
        with listening(_lines(console)):
            yield
        return
    name, note = (TextColumn(form, markup=False) for form in ("{task.description:<28.28}", "{task.fields[note]}"))
    columns = (name, BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), note)
    shown = Progress(*columns, console=console, auto_refresh=not calm)
    with shown as bars, listening(_bars(bars)):
        yield


def _bars(bars: Progress) -> Listener:
    tasks: dict[str, TaskID] = {}

    def show(event: Event) -> None:
        restarted = event.task in tasks and event.done < bars.tasks[tasks[event.task]].completed
        if event.task not in tasks or (restarted and event.task != "stages"):
            tasks[event.task] = bars.add_task(event.task, total=event.total, note=event.note)
        still = not bars.live.auto_refresh
        bars.update(tasks[event.task], completed=event.done, total=event.total, note=event.note, refresh=still)

    return show


def _lines(console: Console) -> Listener:
    shown: dict[str, float] = {}

    def show(event: Event) -> None:
        now = time.monotonic()
        finished = event.total is not None and event.done >= event.total
        if event.task != "stages" and not finished and now - shown.get(event.task, 0.0) < _EVERY:
            return
        shown[event.task] = now
        of = "" if event.total is None else f"/{event.total:g}"
        console.print(f"{event.task}: {event.done:g}{of} {event.note}".rstrip(), highlight=False, markup=False)

    return show


def some_lines(path: Path | None, most: int) -> list[str]:
    """Return the first ``most`` lines of a text file, none without one. Raises CorpusError for an empty file."""
    from itertools import islice

    from edgecompress.corpus import Corpus, lines
    from edgecompress.errors import CorpusError

    if path is None:
        return []
    found = list(islice(lines(Corpus(path.name, (path,))), most))
    if not found:
        raise CorpusError(f"{path} holds no line of text: give a file with some of the text that will be served")
    return found


def validated(step: Step) -> str:
    """Return what a training stage scored on its validation split, "" for one that scores nothing."""
    scores = step.details.get("scores", ())
    if "best" not in step.details or not scores:
        return ""
    best = max(range(len(scores)), key=lambda epoch: scores[epoch][1])
    task = TASKS.get(step.options.get("task", {}).get("kind", ""))
    metric = short_metric(task.metrics[0]) if task else "mean score"
    of = f"epoch {best + 1} of {len(scores)}" if len(scores) > 1 else "one epoch"
    return f"validation {metric} {step.details['best']:.1f} ({of})"


def sizes(before: int, after: int) -> str:
    """Return two numbers of parameters and how they differ."""
    share = 100 * (after / before - 1)
    changed = "as many" if after == before else f"{abs(share):.1f} % {'fewer' if after < before else 'more'}"
    return f"{before:,} → {after:,} parameters ({changed})"


def megabytes(size: float) -> str:
    """Return bytes as "4.7 MB"."""
    return f"{size / 1e6:.1f} MB"
