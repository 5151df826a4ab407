"""The sections of README.md about serving: the server, other hosts, ARM, the page and the installed footprint."""

from __future__ import annotations

import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "serve"
BUSY = 5.0  # percent, as in edgecompress.report


def serve() -> str:
    """Return how fast the server is, and what it held out."""
    load, fuzz, soak = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in ("load", "fuzz", "soak")
    )
    columns = (
        "texts/s",
        "of plain sessions",
        "the same, 16 texts a request",
        "one client, ms",
        "half load, median",
        "p99",
        "of one",
        "evenly spaced",
    )
    lines = [f"| student, one core | {' | '.join(columns)} |", "|---" + "|---:" * len(columns) + "|"]
    lines += [
        f"| {name} | {of['served_texts_per_s']:.0f} | {of['throughput_ratio']:.2f} "
        f"| {of['throughput_ratio_many']:.2f} | {of['single_median_ms']:.2f} "
        f"| {of['half_load_median_ms']:.2f} | {of['half_load_p99_ms']:.2f} | ×{of['p99_over_median']:.1f} "
        f"| ×{of['paced_p99_over_median']:.1f} |"
        for name, of in load["figures"].items()
    ]
    others = max(of["others_percent"] for of in load["figures"].values())
    busy = f" The machine was busy: others had up to {others:.0f} % of its cores meanwhile." if others >= BUSY else ""
    kept = [one["rss_mb"] for one in soak["samples"]]
    after = fuzz["held"]
    held = (
        f"{fuzz['requests']:,} requests that nobody should send (broken JSON and HTTP, all planes of Unicode, 10 MB "
        f"bodies, slow and vanishing clients, wrong tokens, paths out of it): {fuzz['unexpected']} answered otherwise "
        f"than documented, {fuzz['errors_logged']} errors in its log; memory {fuzz['before']['rss_mb']:.0f} MB "
        f"before, {after[0]['rss_mb']:.0f} MB after {after[0]['requests']:,} requests, {after[-1]['rss_mb']:.0f} MB at "
        f"the end. {soak['minutes']:.0f} minutes of real texts with {soak['reloads']} reloads: "
        f"{soak['answers']['200']:,} answers, {soak['wrong']} not as expected, memory from "
        f"{kept[0]:.0f} MB at the start to {kept[-1]:.0f} MB at the end, between {min(kept):.0f} and {max(kept):.0f} "
        f"MB meanwhile. A line through it rises {soak['rss_slope_mb_in_30_minutes']:.0f} MB in half an hour and the "
        f"end lies {soak['rss_end_over_minute_5_mb']:.0f} MB over the fifth minute: a slow leak is not excluded."
    )
    shared = all(load["client_core"] in of["server_cores"] for of in load["figures"].values())
    where = "server and client on one core together" if shared else "server and client on a core each"
    what = (
        "Plain sessions: a loop of tokenizers, numpy and onnxruntime, one text each, one thread. Half load: as many "
        "requests as half of the texts/s, one text each, at random times; the last columns: p99 over the median of one "
        "client, at random times and evenly spaced."
    )
    return "\n".join([*lines, "", f"{what} {load['host']['cpu']}, {where}.{busy}", "", held])


def footprint() -> str:
    """Return what an installation takes, beside two others that do the same."""
    found = json.loads((RESULTS / "footprint.json").read_text(encoding="utf-8"))
    lines = [
        "| installed | packages | disk, MB | import, s | first label, s | processor, s | resident, MB | peak, MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in found["subjects"].items():
        times = " | ".join(f"{row[f'cold_{what}_s']:.2f} ({row[f'warm_{what}_s']:.2f})" for what in ("import", "first"))
        disk = f"{row['packages']} | {row['install_mb']:,.0f}"
        memory = f"{row['first_cpu_s']:.2f} | {row['rss_mb']:.0f} | {row['peak_mb']:.0f}"
        lines.append(f"| {name} | {disk} | {times} | {memory} |")
    note = (
        f"One text labelled by one fp32 student of {found['model_mb']} MB, the same label from all three; medians of "
        f"{found['rounds']} new processes each, in turns, on one core of {found['host']['cpu']}. Times are from disk, "
        "in brackets with the files in memory already; processor time is of the latter. Remade by "
        "`python benchmarks/footprint.py`."
    )
    if found["host"]["load"] > found["host"]["cores"]:
        note += (
            f" The machine was busy (load average {found['host']['load']:.0f}): other programs lengthened the "
            "times, but hardly the processor's."
        )
    return "\n".join([*lines, "", note])


def arm() -> str:
    """Return how far emulated ARM is from x86, by CPU model and scheme, all tasks together."""
    found = json.loads((RESULTS / "arm.json").read_text(encoding="utf-8"))
    names = {name: f"{name}: {cpu['does']}" for name, cpu in found["cpus"].items()}
    names |= {"x86-64-avx2": "x86 without VNNI", "one-ulp": "x86, vectors moved by one unit in the last place"}
    lines = ["| scheme | beside x86 with VNNI | texts a task | equal labels | error of logits | largest |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for pair in found["label_agreement"]:
        cpu, scheme = pair.split()
        rows = [one for one in found["rows"] if (one["cpu"], one["scheme"]) == (cpu, scheme)]
        equal, labels = (sum(one[name] for one in rows) for name in ("equal", "labels"))
        worst, most = (max(one[name] for one in rows) for name in ("error", "logits"))
        shown = f"{equal:,} of {labels:,} | {worst:.1g} | {most:.1g}" if worst < 1e-4 else (
            f"{equal:,} of {labels:,} | {worst:.3f} | {most:.2f}")  # fmt: skip
        lines.append(f"| {scheme} | {names[cpu]} | {rows[0]['texts']} | {shown} |")
    tasks = ", ".join(dict.fromkeys(one["task"] for one in found["rows"]))
    note = f"The demo's students ({tasks}) on their test texts, labels a text or a word; error: root mean square "
    versions = ", ".join(f"{name} {found['host']['versions'][name]}" for name in ("onnxruntime", "tokenizers", "numpy"))
    note += f"of the differences over the logits' spread, of the worst task. {found['qemu']}; {versions} on both sides."
    return "\n".join([*lines, "", note])


def page() -> str:
    """Return what page.py saw of the default scheme."""
    found = json.loads((RESULTS / "page.json").read_text(encoding="utf-8"))
    labels = [
        f"{scheme} {sum(one['equal'] for one in rows):,} of {sum(one['labels'] for one in rows):,}"
        for scheme in found["page_label_agreement"]
        if (rows := [one for one in found["rows"] if one["scheme"] == scheme])
    ]
    sent = found["page_transfer_mb"]
    return (
        f"A demo student in int8: {sent['gzip']:.1f} MB over the wire from a host that compresses WebAssembly, "
        f"{sent['plain']:.1f} MB from one that does not; headless Chromium with an empty profile shows the first label "
        f"{found['page_first_prediction_s']:.1f} s after the navigation began ({found['host']['cores']} core of "
        f"{found['host']['cpu']}; {found['page_first_prediction_cpu_s']:.1f} s of CPU, all its processes together). "
        f"Labels as Python's on 200 texts a task (words for token tasks): {', '.join(labels)}."
    )
