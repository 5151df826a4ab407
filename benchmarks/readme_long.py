"""The sections of benchmarks/README.md on long texts, from results/long_texts and results/lengths."""

from __future__ import annotations

import json
from typing import Any

from students import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "long_texts"
LENGTHS = ROOT / "benchmarks" / "results" / "lengths"


def long_texts() -> str:
    """Return a table of scores by the tokens that are read at once, for texts of one and of several sentences."""
    lines: list[str] = []
    for path in sorted(RESULTS.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        windows = list(found["rows"][0]["scores"])
        if not lines:
            lines += [
                f"| | joined | tokens (median) | {' | '.join(windows)} |",
                f"|---|---:|---:|{'---:|' * len(windows)}",
            ]
        lines += [_line(found["name"], row) for row in found["rows"]]
    if not lines:
        raise FileNotFoundError(2, "no result", str(RESULTS))
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> str:
    cells = [f"{name} {row['model']}", str(row["joined"]), f"{row['median_tokens']:.0f}"]
    return f"| {' | '.join([*cells, *(f'{value:.1f}' for value in row['scores'].values())])} |"


def lengths() -> str:
    """Return a table of distilled students' errors by the length of the text."""
    lines: list[str] = []
    for path in sorted(LENGTHS.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        by = list(found["rows"][0]["errors"])
        lines += [] if lines else [f"| tokens a text | {' | '.join(by)} |", f"|---|{'---:|' * len(by)}"]
        for row in found["rows"]:
            cells = " | ".join(f"{row['errors'][length]:.2f}" for length in by)
            lines.append(f"| {found['name']}: {row['model']} | {cells} |")
    if not lines:
        raise FileNotFoundError(2, "no result", str(LENGTHS))
    return "\n".join(lines)
