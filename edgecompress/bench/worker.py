"""The process of one subject: it opens it, runs it when it is its turn, and answers through a pipe.

A process of its own means that memory is the subject's alone, and that a subject that crashes takes nobody along.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from edgecompress.bench.cells import REAL, Cell
from edgecompress.bench.memory import resident
from edgecompress.bench.opening import How, Opened, ids_of, longest, open_target
from edgecompress.bench.quality import predict
from edgecompress.bench.subjects import Target
from edgecompress.errors import CheckError, EdgecompressError
from edgecompress.runtime.running import OUTPUT
from edgecompress.runtime.session import runtime_errors
from edgecompress.tasks.examples import Example

WARM_UP = 3
_FIRST = (1, 32)
Times = dict[str, float]  # part → milliseconds
Pass = Callable[[], Iterator[Times]]


def serve(pipe: Connection, cores: Sequence[int], log: str, make: Callable[[], Any] | None = None) -> None:
    """Answer (request, arguments) with ("ok", result) or ("error", line) until the pipe closes.

    The requests are the public methods of Work, or of what ``make`` returns. Runs on ``cores`` alone.
    What libraries print goes to the file ``log``: its last line says why a process died.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is asked to stop, and closes the pipe
    with Path(log).open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ["RAYON_NUM_THREADS"] = str(len(cores))  # of tokenizers, read at its first batch
    if make:
        _pin(cores)
    work = make() if make else Work(cores)
    while True:
        try:
            request, arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(_answer(work, request, arguments))


def _answer(work: Any, request: str, arguments: Sequence[Any]) -> tuple[str, Any]:
    try:
        return "ok", getattr(work, request)(*arguments)
    except EdgecompressError as error:
        return "error", str(error)
    except runtime_errors() as error:
        return "error", " ".join(str(error).split()).removeprefix("[ONNXRuntimeError] : ")


@dataclass(frozen=True)
class Turn:
    """Every call's times, the seconds that the process ran (of all its threads), and those of the clock."""

    calls: list[Times]
    ran: float
    took: float


class Work:
    """What a process holds between two requests."""

    def __init__(self, cores: Sequence[int] = ()) -> None:
        self.cores = cores
        self.opened: Opened | None = None
        self.run_once: Pass = lambda: iter(())
        self.touch: Callable[[], object] = lambda: None  # one call, untimed: others had the caches since the last turn

    @property
    def subject(self) -> Opened:
        """The opened subject; asking before it was opened is a bug of the caller."""
        assert self.opened is not None  # noqa: S101
        return self.opened

    def open(self, target: Target, how: How) -> dict[str, float]:
        """Open the subject and run it once: bytes before ("memory_idle"), milliseconds of both."""
        _import(target)
        _pin(self.cores)
        found: dict[str, float] = {}
        if "now" in (idle := resident()):
            found["memory_idle"] = idle["now"]
        begin = perf_counter()
        self.opened = open_target(target, how)
        loaded = perf_counter()
        self._run(ids_of(self.opened, (_FIRST[0], min(_FIRST[1], longest(self.opened)))))
        done = perf_counter()
        return {**found, "load": 1000 * (loaded - begin), "first_prediction": 1000 * (done - loaded)}

    def prepare(self, cell: Cell, texts: Sequence[str]) -> bool:
        """Get ready for turns at this cell and warm up; False where the subject's longest input is shorter."""
        batch, length = cell
        if length == REAL:
            self._prepare_texts(batch, texts)
        elif length > longest(self.subject):
            return False
        else:
            self.prepare_ids(ids_of(self.subject, (batch, length)))
        return True

    def turn(self, seconds: float, least: int) -> Turn:
        """Run for at least ``seconds`` and ``least`` calls, whole passes only."""
        calls: list[Times] = []
        self.touch()
        begin, ran = perf_counter(), process_time()
        while len(calls) < least or perf_counter() < begin + seconds:
            calls += self.run_once()
        return Turn(calls, process_time() - ran, perf_counter() - begin)

    def memory(self) -> dict[str, int]:
        """Return the process's bytes, now and at most."""
        return resident()

    def score(self, examples: Sequence[Example]) -> tuple[list[Sequence[str]], int]:
        """Return the predicted labels of each example, and how many words were not seen."""
        return predict(self.subject.predictor(0), examples)

    def _run(self, feed: dict[str, Any]) -> None:
        logits = self.subject.session.run([OUTPUT], feed)[0]
        if not np.isfinite(logits).all():
            raise CheckError("it gave values that are not numbers (NaN or infinity)")

    def prepare_ids(self, feed: dict[str, Any]) -> None:
        """Get ready for turns with this feed and warm up. Raises CheckError for logits that are not finite."""
        session = self.subject.session

        def once() -> Iterator[Times]:
            begin = perf_counter()
            session.run(None, feed)
            yield {"model": 1000 * (perf_counter() - begin)}

        for _ in range(WARM_UP):
            self._run(feed)
        self.run_once, self.touch = once, lambda: next(once())

    def _prepare_texts(self, batch: int, texts: Sequence[str]) -> None:
        predictor = self.subject.predictor(batch)
        batches = [texts[begin : begin + batch] for begin in range(0, len(texts), batch)]

        def once() -> Iterator[Times]:
            for some in batches:
                begin = perf_counter()
                prepared = predictor.prepare(some)
                tokenized = perf_counter()
                probabilities = predictor.infer(prepared)
                inferred = perf_counter()
                predictor.finish(prepared, probabilities)
                done = perf_counter()
                marks = {"tokenize": tokenized - begin, "model": inferred - tokenized, "postprocess": done - inferred}
                yield {part: 1000 * took for part, took in {**marks, "total": done - begin}.items()}

        list(once())
        self.run_once, self.touch = once, lambda: next(once())


def _pin(cores: Sequence[int]) -> None:
    """Run on ``cores`` alone from now on (none: on any).

    After onnxruntime was imported, as it looks at the machine then: in a process that was pinned before, the same int8
    graph was 15 % slower on a Xeon with AMX, which is not what a process sees that is asked for one thread.
    """
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _import(target: Target) -> None:
    """Import what the subject needs before anything is timed: an import is not a load."""
    import_module("tokenizers")
    if target.kind != "torch":
        import_module("onnxruntime")
        return
    import_module("edgecompress.export.torch_session")
    config = json.loads((target.path / "config.json").read_text(encoding="utf-8"))
    for name in config.get("architectures") or ():
        getattr(import_module("transformers"), name, None)  # its module is imported when it is asked for
