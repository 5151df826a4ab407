"""Write the tables of README.md from the committed results: no figure in it is typed by hand.

    python benchmarks/readme.py

Between the markers of each section stands what benchmarks/results/demo.json (the bench.json of `make demo`) and
benchmarks/results/structure-*.json say.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import click
from rich.console import Console

from edgecompress.deliver import read_results
from edgecompress.records import Host
from edgecompress.report.terminal import bench_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@click.command()
def main() -> None:
    """Rewrite the marked sections of README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, body in (("demo", _demo()), ("structure", _structure())):
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{body}\n{end}{rest.partition(end)[2]}"
    readme.write_text(text, encoding="utf-8")


def _demo() -> str:
    path = RESULTS / "demo.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    host, note = Host(**found["host"]), found.get("note", "")
    console = Console(file=io.StringIO(), record=True, width=80)
    for table in bench_table(read_results(path), host):
        console.print(table)
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    table = "```text\n" + "\n".join(lines).strip("\n") + "\n```"
    return f"{table}\n\nThis table: {note}." if note else table


def _structure() -> str:
    lines = ["| student (random weights of the real shape) | parameters | below teacher |", "|---|---:|---:|"]
    notes = []
    for name, title in (("xlmr", "XLM-R base"), ("mbert", "mBERT")):
        found = json.loads((RESULTS / f"structure-{name}.json").read_text(encoding="utf-8"))
        lines.append(f"| {title}, the teacher | {found['teacher_parameters']:,} | |")
        for row in found["rows"]:
            if row["stage"] == "trim":
                hidden = row["name"].removeprefix("student-")
                shape = f"6 layers, FFN 2048, hidden {hidden}, {row['details']['kept']:,} pieces"
                lines.append(f"| {title}, {shape} | {row['parameters']:,} | {row['below_teacher_percent']} % |")
        notes.append(f"{title} {found['cut_seconds']} s and {found['peak_gb']} GB at most")
    cpu = found["host"]["cpu"]
    note = f"All cuts of a recipe together, without training: {'; '.join(notes)} (two cores of {cpu})."
    return "\n".join([*lines, "", f"{note} Remade by `python benchmarks/structure.py xlmr` and `… mbert`."])


if __name__ == "__main__":
    main()
