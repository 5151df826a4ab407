"""Stages that do not wait for each other, made at the same time: a process each, with its share of the cores.

The matrices of a small model are too small to keep many cores busy: two trainings on a core each end sooner than one
after the other on both.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgecompress.errors import EdgecompressError, StageError
from edgecompress.progress import Event, listening, report

if TYPE_CHECKING:
    from multiprocessing.context import SpawnContext, SpawnProcess

_WAIT = 0.2  # seconds between two looks at who has ended
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One stage: ``needs`` are the names of those that come before it, ``arguments`` what is handed to the maker."""

    name: str
    needs: frozenset[str]
    arguments: tuple[Any, ...]


def run_jobs(
    jobs: Sequence[Job], make: Callable[..., None], at_once: int, *, cores: int, tell: Callable[[int, str], None]
) -> None:
    """Call ``make(*job.arguments)`` for every job, each in a process of its own, at most ``at_once`` at a time.

    A job begins when those it needs have ended; of several, the one that the longest chain of others waits for. The
    share of the ``cores`` is the number of threads that a job's libraries use, unless the environment says otherwise
    (OMP_NUM_THREADS and the like). ``tell`` is called with how many have ended and the names of those at work, when
    that changes. What a job reports is reported here, its name before it. When one fails, the others are stopped, and
    what it raised is raised here: StageError where a process died of something else than an EdgecompressError. Jobs
    must go on from where they were stopped.
    """
    context = multiprocessing.get_context("spawn")
    said: queue.Queue[tuple[str, Any]] = context.Queue()  # type: ignore[assignment]
    waiting, ended = _longest_chain_first(jobs), set[str]()
    running: dict[str, SpawnProcess] = {}
    failed: dict[str, EdgecompressError] = {}
    told = ""
    try:
        while waiting or running:
            for job in [job for job in waiting if job.needs <= ended][: at_once - len(running)]:
                waiting.remove(job)
                running[job.name] = _begin(context, job, make, said, max(1, cores // at_once))
            if told != (told := ", ".join(running)):
                tell(len(ended), told)
            _listen(said, failed)
            for name in [name for name, process in running.items() if not process.is_alive()]:
                _listen(said, failed)
                _check(name, running.pop(name), failed)
                ended.add(name)
        tell(len(ended), "done")
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()


def _longest_chain_first(jobs: Sequence[Job]) -> list[Job]:
    after = {job.name: [other.name for other in jobs if job.name in other.needs] for job in jobs}

    def chain(name: str) -> int:
        return 1 + max(map(chain, after[name]), default=0)

    return sorted(jobs, key=lambda job: -chain(job.name))


def _begin(context: SpawnContext, job: Job, make: Callable[..., None], said: Any, threads: int) -> SpawnProcess:
    process = context.Process(target=_work, args=(job.name, make, job.arguments, said), daemon=True)
    with _environment({name: str(threads) for name in _THREADS if name not in os.environ}):
        process.start()
    return process


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that a process begun in this block shall have: its libraries read them as they are imported."""
    os.environ |= values
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


def _listen(said: queue.Queue[tuple[str, Any]], failed: dict[str, EdgecompressError]) -> None:
    """Report what has been said, or wait a little for the next word."""
    with suppress(queue.Empty):
        wait = _WAIT
        while True:
            name, word = said.get(timeout=wait)
            wait = 0.0
            if isinstance(word, Event):
                report(f"{name}: {word.task}", word.done, word.total, word.note)
            else:
                failed[name] = word


def _check(name: str, process: SpawnProcess, failed: Mapping[str, EdgecompressError]) -> None:
    process.join()
    if name in failed:
        raise failed[name]
    if process.exitcode:
        killed = f"was killed by signal {-process.exitcode} (for want of memory?)" if process.exitcode < 0 else "failed"
        raise StageError(f"{name} {killed}: look at what it wrote above, or run again with --jobs 1")


def _work(name: str, make: Callable[..., None], arguments: tuple[Any, ...], said: Any) -> None:
    """Make one job in this process, which ends when the one that began it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, all get it: the first process stops the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with listening(lambda event: said.put((name, event))):
        try:
            make(*arguments)
        except EdgecompressError as error:
            said.put((name, error))
            sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
