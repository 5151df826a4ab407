"""The machine and the settings behind the figures, and how far they can be trusted, in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from edgecompress.bench.results import Results
from edgecompress.report import speed
from edgecompress.report.words import NOTHING

_MUCH = 5.0  # percent
_BUSY = {
    "noise": "repeated turns of {1} {2} lie ±{0:.0f} % apart",
    "waiting": "other programs had the core for {0:.0f} % of the time of {1} {2}",
}


def facts(results: Results) -> Mapping[str, str]:
    """Return the machine: CPU, instruction sets, cores, memory, clock, load, system, library versions."""
    host = results.host
    return {
        "CPU": host.cpu or "unknown",
        "instruction sets": " ".join(host.flags) or "unknown",
        "cores": str(host.cores),
        "memory": f"{host.memory_gb:g} GB" if host.memory_gb else "unknown",
        "clock governor": host.governor or "not told by the system",
        "load before": f"{host.load:.2f} processes",
        "system": f"{host.system}, Python {host.python}",
        "libraries": ", ".join(f"{name} {version}" for name, version in host.versions.items()) or "unknown",
        "measured": results.created.replace("T", " ").replace("+00:00", " UTC"),
    }


def settings(results: Results) -> Mapping[str, str]:
    """Return the run's settings as they were given."""
    return {name.replace("_", " "): _said(value) for name, value in results.settings.items()}


def noise(results: Results) -> str:
    """Return how far repeated figures lay apart at most, and which; a plain sentence where it was not measured."""
    rows = [row for row in results.measurements if row.metric == "noise"]
    if not rows:
        return "How far repeated turns lie apart was not measured: take small differences in time with care."
    most = max(rows, key=lambda row: row.value)
    where = speed.spot(most)
    return (
        f"The turns' medians lie within ±{most.value:.1f} % (most for {most.subject} {speed.shape_in_words(where)}, "
        f"{speed.place(where)}); "
        f"times that differ by less are equal."
    )


def unrest(results: Results) -> str:
    """Return a warning where the machine was too busy for its times to be quoted; empty where it was quiet."""
    worst = {row.metric: row for row in sorted(results.measurements, key=lambda row: row.value) if row.metric in _BUSY}
    causes = [
        _BUSY[metric].format(row.value, row.subject, speed.shape_in_words(speed.spot(row)))
        for metric, row in worst.items()
        if row.value > _MUCH
    ]
    if not causes:
        return ""
    return f"The machine was busy: {' and '.join(causes)}. Close other programs and measure again."


def _said(value: object) -> str:
    if value is None or value == "":
        return NOTHING
    return ", ".join(map(_said, value)) if isinstance(value, list | tuple) else str(value)
