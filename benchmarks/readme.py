"""Write the marked sections of README.md and benchmarks/README.md from the committed results.

    python benchmarks/readme.py

Between the markers stands what the files in benchmarks/results say: demo.json (the bench.json of `make demo`) and
structure-*.json here and in their folders harness, quantize and tokenizer; those of retention, compute, ablations and
serve in readme_*.py beside this file. Measured figures are read, not typed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import click
import readme_ablations
import readme_accuracy
import readme_data
import readme_long
import readme_serving
from rich.console import Console

from edgecompress.bench import results
from edgecompress.report.markdown import markdown
from edgecompress.report.terminal import bench_tables, describe, trust

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BUSY = " One run on a busy machine: times that differ by a fifth are equal."  # in ladder.json, of times not shown
SHOWN = (8_000, 12_000, 16_000, 20_000, 32_000, 40_000, 60_000, 80_000, 100_000)


@click.command()
def main() -> None:
    """Rewrite the marked sections of README.md and benchmarks/README.md."""
    for page, sections in PAGES.items():
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        for name, body in sections.items():
            begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
            before, _, rest = text.partition(begin)
            try:
                written = body()
            except FileNotFoundError as missing:
                click.echo(f"{name}: {missing.filename} is not there: the section says so")
                written = "Not measured yet."
            text = f"{before}{begin}{written}\n{end}{rest.partition(end)[2]}"
        path.write_text(text, encoding="utf-8")


def _earlier() -> str:
    """Return what is to be known of Slovak students that were made before their NER read Wikipedia's lines."""
    rows = json.loads((RESULTS / "retention" / "summary.json").read_text(encoding="utf-8"))["rows"]
    wanted = {"language": "slk", "size": "maximum", "recipe": "default", "task": "ner"}
    score = next(row["score"] for row in rows if wanted.items() <= row.items())
    return (
        "The Slovak students here were made before their NER read Wikipedia's lines (NER on test data since: "
        f"{score:.1f}); shapes, sizes and speeds are the same."
    )


def _demo() -> str:
    console = Console(file=io.StringIO(), record=True, width=80)
    found = results.read(RESULTS / "demo.json")
    for table in bench_tables(found)[:2]:
        table.caption = None
        console.print(table)
    for line in (describe(found.host), *trust(found)):
        console.print(line)
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    return "```text\n" + "\n".join(lines).strip("\n") + "\n```"


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
    used = " and ".join(f"{readme_data.pieces_of_slovak(name):,} of {whose}" for name, whose in
                        (("xlmr", "XLM-R's"), ("mbert", "mBERT's")))  # fmt: skip
    note = (
        "The pieces are those that text of three languages uses, at most 40,000. The recipes, paper-xlmr and "
        f"paper-mbert, read nine files of Slovak; all Slovak text here uses {used}, so that their students are smaller "
        f"than these. All cuts of a recipe together, without training: {'; '.join(notes)} (two cores of {cpu})."
    )
    return "\n".join([*lines, "", f"{note} Remade by `python benchmarks/structure.py xlmr` and `… mbert`."])


def _tokenizer() -> str:
    """Return the share of unchanged texts by kept size, the sizes that leave 99.5 % unchanged, and the speeds.

    The whole table, with UNK rates and fertility, goes to results/tokenizer/table.md.
    """
    folder = RESULTS / "tokenizer"
    figures = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    found = [
        json.loads((folder / f"quality-{name}-{language}.json").read_text(encoding="utf-8"))
        for name in ("xlmr", "mbert")
        for language in ("mlt_Latn", "slk_Latn", "swh_Latn")
    ]
    mbert = json.loads((folder / "speed-mbert.json").read_text(encoding="utf-8"))
    (folder / "table.md").write_text("\n".join(_whole_table(found)) + "\n", encoding="utf-8")
    other = mean(row["ratio"] for row in mbert["rows"])
    speed = (
        f"Counting, XLM-R: {figures['tokens_per_second'] / 1e6:.1f} M tokens a second, {figures['counting_ratio']} "
        f"times as fast as a Python loop over `tokenize` (mBERT: {other:.1f} times); the cut to 40,000 tokens: "
        f"{figures['cut_ratio']} times as fast as `list(vocab).index` a token, of which 4,000 were timed; memory: "
        f"{figures['rss_growth_mb']} MB more for 1 GB of text (of two languages, repeated) than for 20 MB "
        f"({found[0]['host']['cpu']}, two cores). Remade by `python benchmarks/tokenizer.py`, see its first lines; UNK "
        "rates and fertility are in [table.md](benchmarks/results/tokenizer/table.md)."
    )
    return "\n".join([*_by_size(found), "", *(_default_size(part["default"]) for part in found), "", speed])


def _by_size(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return unchanged texts, kept size × (tokenizer, language), for selections filled up by script."""
    names = [f"{part['default']['tokenizer']} {part['default']['language']}" for part in found]
    rows: dict[int, dict[str, float]] = {}
    for name, part in zip(names, found, strict=True):
        for row in part["rows"]:
            if row["fill"] == "script" and row["size"] in SHOWN:
                rows.setdefault(row["size"], {})[name] = row["unchanged"]
    lines = ["| tokens kept | " + " | ".join(names) + " |", "|---:" * (len(names) + 1) + "|"]
    for size, shares in sorted(rows.items()):
        cells = (f"{shares[name]:.1%}" if name in shares else "" for name in names)
        lines.append(f"| {size:,} | " + " | ".join(cells) + " |")
    return lines


def _whole_table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    title = "Trimmed tokenizers on FLORES devtest, which the selection has not seen. In brackets: the whole tokenizer."
    lines = [title, "", "| tokenizer | language | filled up by | tokens kept | texts unchanged | UNK | tokens a word |"]
    lines.append("|---|---|---|---:|---:|---:|---:|")
    return lines + [
        f"| {row['tokenizer']} | {row['language']} | {row['fill']} | {row['kept']:,} | {row['unchanged']:.1%} "
        f"| {row['unknown_new']:.3%} | {row['fertility_new']:.3f} ({row['fertility_old']:.3f}) |"
        for part in found
        for row in part["rows"]
    ]


def _default_size(row: Mapping[str, Any]) -> str:
    return (
        f"- {row['tokenizer']}, {row['language']}: {row['kept']:,} tokens leave {row['unchanged']:.1%} of devtest "
        f"unchanged (size chosen on dev); its text of {row['tokens_read'] / 1e6:.1f} M tokens never uses "
        f"{row['of_them_never_in_text']:,} of devtest's {row['distinct_tokens_in_devtest']:,} distinct tokens."
    )


def _ladder() -> str:
    """Return every rung that was tried on one real student; its times are of one run on a busy machine, and left out:
    another run halved some.
    """
    found = json.loads((RESULTS / "quantize" / "ladder.json").read_text(encoding="utf-8"))
    lines = [f"| scheme | MB | error | decisions as fp32's | {found['metric']} |", "|---|---:|---:|---:|---:|"]
    for rung in found["rungs"]:
        if rung["refused"]:
            lines.append(f"| {rung['scheme']} | refused: {rung['refused']} | | | |")
            continue
        name = f"**{rung['scheme']}**" if rung["scheme"] == found["chosen"] else rung["scheme"]
        shown = f"{rung['bytes'] / 1e6:.2f} | {rung['error']:.3f} | {rung['agreement']:.1%} | {rung['score']:.2f}"
        lines.append(f"| {name} | {shown} |")
    note = found["note"].replace(BUSY, "")
    return "\n".join([*lines, "", f"{note} {_earlier()}"])


def _quantize() -> str:
    """Return our artifacts beside optimum's, and what quantization cost in score."""
    found = json.loads((RESULTS / "quantize" / "summary.json").read_text(encoding="utf-8"))
    timed = json.loads((RESULTS / "quantize" / "speed.json").read_text(encoding="utf-8"))
    lines = ["| graph | MB | ms 1×32 | ms 1×128 |", "|---|---:|---:|---:|"]
    lines += [
        f"| {name} | {timed['bytes'][name] / 1e6:.1f} | {ms['1x32']:.2f} | {ms['1x128']:.2f} |"
        for name, ms in timed["milliseconds"].items()
    ]
    drops = ["", "| points below fp32 | int8-tables4 | int4 | optimum's int8 |", "|---|---:|---:|---:|"]
    drops += [f"| {task} | {of['int8-tables4']} | {of['int4']} | {of['peer']} |" for task, of in found["drops"].items()]
    keys = ("int8-tables4 1x32", "int8-tables4 1x128", "tuned 1x32", "tuned 1x128", "int8-tables4 bytes", "int4 bytes")
    beside = ["", "| e5-small student, of optimum's | 1×32 | 1×128 | tuned, 1×32 | tuned, 1×128 | bytes | int4 |",
              "|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    beside += [
        f"| {task} | {' | '.join(f'×{of[key]:.2f}' for key in keys)} |" for task, of in found["students"].items()
    ]
    return "\n".join([*lines, *drops, *beside, "", _shallow(found["free_shape"]), "", f"{found['note']} {_earlier()}"])


def _shallow(free: Mapping[str, float]) -> str:
    """Return what half the layers give, and how much of the speed is theirs: ratios of the same file's medians."""
    rows = json.loads((RESULTS / "quantize" / "scores-slk.json").read_text(encoding="utf-8"))["rows"]
    graph, layers = (
        mean(row["milliseconds"][slow]["1x128"] / row["milliseconds"][fast]["1x128"] for row in rows)
        for slow, fast in (("peer", "tuned"), ("tuned", "free tuned"))
    )
    return (
        "`tuned` is what `edgecompress tune` keeps of int8-tables4 on this CPU. Half the layers at equal parameters (3 "
        "of hidden 192 and FFN 1152, distilled and taught alike), tuned, run at "
        f"×{free['peer over free tuned 1x128']:.2f} the speed of optimum's graph of the 6 layers of hidden 156 at "
        f"1×128: ×{layers:.2f} comes from half the layers, ×{graph:.2f} from the graph, which the 6 layers have, too. "
        f"Their mean score on validation data (one seed) is {free['mean score free tuned']:.1f}, that of the 6 layers "
        f"{free['mean score tuned']:.1f} tuned and {free['mean score peer']:.1f} in optimum's int8; NER loses most: "
        f"{free['ner free tuned']:.1f} against {free['ner tuned']:.1f}."
    )


def _harness() -> str:
    """Return how far the harness was right, and the Slovak students as it measures them."""
    found = json.loads((RESULTS / "harness" / "summary.json").read_text(encoding="utf-8"))
    clocks = json.loads((RESULTS / "harness" / "clock.json").read_text(encoding="utf-8"))
    off = max(abs(row["harness_p50_ms"] / row["outside_p50_ms"] - 1) for row in clocks["rows"].values())
    said = (
        f"A wait of {found['known_ms']:g} ms is measured as {found['measured_ms']:.3f} ms; medians lie at most "
        f"{100 * off:.1f} % from those of plain onnxruntime sessions with a clock of their own (medians of the turns' "
        f"ratios: {found['outside_clock_difference_percent']:.1f} %); it adds "
        f"{found['overhead_percent']:.1f} % to a call at 1×32 and "
        f"{found['overhead_percent_1x128']:.1f} % at 1×128; speedups of two whole runs differ by at most "
        f"{found['repeat_difference_percent']:.1f} % ({clocks['host']['cpu']}, one thread; turns lay within "
        f"±{found['noise_percent']:.0f} %)."
    )
    measured = results.read(RESULTS / "harness" / "slovak.json")
    slovak = markdown(measured)
    tables = [line for line in slovak.splitlines() if line.startswith("|")]
    at = next(number for number, line in enumerate(tables) if number and line.startswith("|  |"))
    title = "The Slovak students on their test splits (`cut-only`: the same shape, fine-tuned without distillation):"
    about = f"{describe(measured.host)}. {' '.join(trust(measured))}"
    return "\n".join([said, "", title, "", *tables[:at], "", *tables[at:], "", f"{about} {_earlier()}"])


SECTIONS = {
    "ablations": readme_ablations.ablations,
    "arm": readme_serving.arm,
    "page": readme_serving.page,
    "demo": _demo,
    "footprint": readme_serving.footprint,
    "harness": _harness,
    "ladder": _ladder,
    "needs": readme_data.needs,
    "quantize": _quantize,
    "retention": readme_accuracy.retention,
    "serve": readme_serving.serve,
    "structure": _structure,
    "tokenizer": _tokenizer,
}
PAGES = {
    "README.md": SECTIONS,
    "benchmarks/README.md": {
        "long": readme_long.long_texts,
        "lengths": readme_long.lengths,
        "tried": readme_ablations.tried,
    },
}


if __name__ == "__main__":
    main()
