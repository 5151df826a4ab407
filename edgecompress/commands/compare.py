"""`edgecompress compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgecompress.commands.numbers import Finite
from edgecompress.commands.show import terminal
from edgecompress.errors import InputError

_RESULTS = click.Path(dir_okay=False, path_type=Path)


def command(name: str) -> click.Command:
    """Return the command called ``name``."""
    return {"compare": compare}[name]


@click.command()
@click.argument("old", type=_RESULTS)
@click.argument("new", type=_RESULTS)
@click.option("--max-regression", type=Finite(0), metavar="PERCENT",
              help="Exit 1 when something got worse by more than this percentage of its old value.")  # fmt: skip
@click.option("--force", is_flag=True, help="Compare results of two machines: sizes and scores, times with care.")
@click.option(
    "--all", "everything", is_flag=True, help="List noise, unchanged figures, p99, throughput and parts, too."
)
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the rows there.")
def compare(old: Path, new: Path, **options: Any) -> None:
    """Compare NEW with OLD, two results of `bench`, figure by figure, worst first.

    The interval of a difference combines those of both sides as independent measurements. With --max-regression, exit 1
    when a score, a size, a median latency or memory got worse by more than that and not within noise (p99 and load
    times, to which `bench` gives no interval, are listed with --all and not judged), when a subject, a task or a figure
    of OLD is missing in NEW, or when something failed in NEW alone. Files that cannot be compared: exit 2.
    """
    from edgecompress.bench import compare as logic
    from edgecompress.bench import results
    from edgecompress.files import write_json
    from edgecompress.report.compare import compare_table, comparison_json, heading, remarks, shown

    before, after = results.read(old), results.read(new)
    machines = results.other_machine(before.host, after.host)
    if machines and not options["force"]:
        raise InputError(f"{old} and {new} are of two machines ({machines}): measure on one, or give --force")
    found, percent = logic.compare(before, after), options["max_regression"]
    rows, console = shown(found, everything=options["everything"]), terminal()
    console.print(heading(str(old), str(new), machines), soft_wrap=True)
    if rows:
        console.print(compare_table(rows))
    for line in remarks(found, rows, machines=machines):
        console.print(line)
    worse = () if percent is None else logic.regressions(found, percent)
    if options["target"]:
        write_json(options["target"], {**comparison_json(found, machines, worse), "max_regression": percent})
    if percent is not None:
        logic.judge(found, percent)
