"""A real server in a process of its own, and what the system says of it: memory, files, threads, its core."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompress.bench.memory import resident

TOKEN = "a-token-for-the-benchmark"  # noqa: S105 - of a server that lives for minutes
_MB = 1e6
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A running server: ``log`` is the file that its log goes to."""

    popen: subprocess.Popen[str]
    port: int
    log: Path

    def held(self) -> dict[str, float]:
        """Return memory in MB, open files, threads and children."""
        folder = Path(f"/proc/{self.popen.pid}")
        children = [(task / "children").read_text().split() for task in (folder / "task").iterdir()]
        return {
            "rss_mb": round(resident(folder / "status")["now"] / _MB, 2),
            "files": len(list((folder / "fd").iterdir())),
            "threads": len(list((folder / "task").iterdir())),
            "children": sum(map(len, children)),
        }

    def cpu(self) -> float:
        """Return the seconds that its threads have run."""
        tasks = Path(f"/proc/{self.popen.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def stop(self, limit: float = 60.0) -> tuple[int, float]:
        """Ask it to stop; return its exit code and the seconds that it took. Raises TimeoutExpired."""
        begin = time.perf_counter()
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(limit), round(time.perf_counter() - begin, 2)

    def logged(self) -> list[dict[str, Any]]:
        """Return the lines of the log that are errors or hold a traceback."""
        lines = (json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines() if line.startswith("{"))
        return [line for line in lines if line["level"] in ("error", "critical") or "traceback" in line]


@contextmanager
def server(
    artifacts: Mapping[str, Path], more: Sequence[str] = (), *, token: str = "", cores: Sequence[int] = ()
) -> Iterator[Process]:
    """Yield a server on a free port, on ``cores`` where given; it is ended at the end if it has not been stopped."""
    pin = f"import os; os.sched_setaffinity(0, {list(cores)}); " if cores else ""
    code = f"{pin}from edgecompress.cli import main; main()"
    named = [f"{name}={folder}" for name, folder in artifacts.items()]
    environment = {name: value for name, value in os.environ.items() if name != "EDGECOMPRESS_TOKEN"}
    if token:
        environment["EDGECOMPRESS_TOKEN"] = token
    with tempfile.NamedTemporaryFile(prefix="edgecompress-serve-", suffix=".log") as log:
        popen = subprocess.Popen(
            [sys.executable, "-c", code, "serve", *named, "--port", "0", *more],
            stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
        )  # fmt: skip
        try:
            assert popen.stdout is not None
            found = re.search(r":(\d+) serves ", popen.stdout.readline())
            assert found, Path(log.name).read_text(encoding="utf-8")
            yield Process(popen, int(found[1]), Path(log.name))
        finally:
            popen.kill()
            popen.wait()
            if popen.stdout is not None:
                popen.stdout.close()


class Others:
    """The share of each core's time that is not that of ``pids``, which run on these cores alone; 100 for all of it."""

    def __init__(self, cores: Sequence[int], pids: Sequence[int]) -> None:
        self._cores, self._pids = cores, pids
        self._begin = self._read()

    def percent(self) -> float:
        """Return the percent since the beginning."""
        busy, own, now = (after - before for after, before in zip(self._read(), self._begin, strict=True))
        return round(max(0.0, 100 * (busy - own) / (now * len(self._cores))), 1)

    def _read(self) -> tuple[float, float, float]:
        """Return seconds: busy ones of the cores, those of the processes, the clock."""
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        names = {f"cpu{core}" for core in self._cores}
        counted = [line.split()[1:9] for line in lines if line.split()[0] in names]
        busy = sum(sum(map(int, fields)) - int(fields[3]) - int(fields[4]) for fields in counted) / _TICK  # idle, waits
        own = 0.0
        for pid in self._pids:
            after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            own += (int(after_name[11]) + int(after_name[12])) / _TICK
        return busy, own, time.perf_counter()
