"""The other end of a subject's process: requests with a time limit, and one line on why a process is gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import Any

from edgecompress.bench.worker import serve

_GRACE = 5.0  # seconds for a process to end by itself


class LostError(Exception):
    """A subject can no longer be measured, or cannot be at this cell; the message is one line."""


class Lane:
    """A running process, number ``pid``. ``alive`` is False once it was lost or closed."""

    def __init__(self, cores: Sequence[int], work: Callable[..., None] = serve) -> None:
        context = multiprocessing.get_context("spawn")  # a forked process would hold the parent's memory
        handle, log = mkstemp(prefix="edgecompress-bench-", suffix=".log")
        self._said, self._log = os.fdopen(handle, "rb"), Path(log)
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=work, args=(other, list(cores), log), daemon=True)
        self._process.start()
        self.pid = self._process.pid or 0
        other.close()
        self.alive = True

    def ask(self, request: str, *arguments: Any, limit: float) -> Any:
        """Return the answer. Raises LostError for an error, a dead process, or no answer within ``limit`` seconds."""
        try:
            self._pipe.send((request, arguments))
            if not self._pipe.poll(limit):
                self._end(kill=True)
                raise LostError(f"hung: no answer within {limit:g} s, its process was ended (--time-limit)")
            status, answer = self._pipe.recv()
            with suppress(OSError):  # the process has it open: nobody needs its name, or has to clean it up, any more
                self._log.unlink(missing_ok=True)
        except (EOFError, OSError):
            raise LostError(self._obituary()) from None
        if status == "error":
            raise LostError(answer)
        return answer

    def close(self) -> None:
        """End the process."""
        if self.alive:
            self._end(kill=False)

    def _end(self, *, kill: bool) -> None:
        self.alive = False
        self._pipe.close()
        if kill:
            self._process.kill()
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._said.close()
        self._log.unlink(missing_ok=True)

    def _obituary(self) -> str:
        self._process.join(_GRACE)
        code, lines = self._process.exitcode, self._said.read().decode("utf-8", "replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        self._end(kill=True)
        return f"crashed ({_ending(code)})" + (f": {said[:200]}" if said else "")


@contextmanager
def lane(cores: Sequence[int]) -> Iterator[Lane]:
    """Start a process on ``cores``, and end it when the block does."""
    process = Lane(cores)
    try:
        yield process
    finally:
        process.close()


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name
        return f"{name}, often for want of memory" if name == "SIGKILL" else name
    return f"signal {-code}"
