"""What an installation takes to label one text: disk, time to import and to the first answer, memory.

    python benchmarks/footprint.py ARTIFACT MODEL -o WORK --text "…"

ARTIFACT is the fp32 artifact of MODEL, a student's torch folder for a text task. Three virtual environments are made in
WORK, once, each with the pinned versions: edgecompress's base install; transformers and torch, whose pipeline loads
MODEL; optimum with onnxruntime, whose pipeline loads ARTIFACT. All three must give the same label. Written to
benchmarks/results/serve/footprint.json:

- install_mb: bytes of the files in site-packages without pip and setuptools, in 10⁶.
- import_s: what the import statements take in a new process; cold: after the files of the environment, of ARTIFACT and
  of MODEL were dropped from the page cache (Python's own library stays there); warm: run again at once.
- first_s: from starting the process to the first label, cold and warm.
- import_cpu_s, first_cpu_s: processor seconds from the start until then, warm: other programs on the machine lengthen
  the times above, but hardly these.
- rss_mb, peak_mb: resident memory after the label and at its most, in 10⁶ bytes, files that are mapped included.

Medians of ``--rounds`` rounds, in which the three take turns. One thread each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import click

from edgecompress.artifact import open_artifact
from edgecompress.bench.host import host
from edgecompress.files import write_json

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "serve" / "footprint.json"
_NOT_COUNTED = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")


@dataclass(frozen=True)
class Subject:
    """What is installed, and the code that imports it and labels ``text`` with ``artifact`` or ``model``."""

    packages: tuple[str, ...]
    constraints: str
    imports: str
    label: str


@dataclass(frozen=True)
class Run:
    """What one process says of itself; see the head of this file."""

    label: str
    import_s: float
    first_s: float
    import_cpu_s: float
    first_cpu_s: float
    rss_mb: float
    peak_mb: float


_PIPELINE = 'pipeline("text-classification", model={}, tokenizer=AutoTokenizer.from_pretrained({}))(text)[0]["label"]'
SUBJECTS: Mapping[str, Subject] = {
    "edgecompress": Subject(
        (str(ROOT),),
        "constraints.txt",
        "import onnxruntime, tokenizers, edgecompress.runtime.predictor",
        "edgecompress.load(artifact, threads=1)(text).label",
    ),
    "transformers + torch": Subject(
        ("transformers", "torch==2.13.0"),
        "constraints.txt",
        "import torch\nfrom transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline",
        _PIPELINE.format("AutoModelForSequenceClassification.from_pretrained(model)", "model"),
    ),
    "optimum": Subject(
        ("optimum[onnxruntime]",),
        "constraints-optimum.txt",
        "from optimum.onnxruntime import ORTModelForSequenceClassification\n"
        "from transformers import AutoTokenizer, pipeline",
        _PIPELINE.format("ORTModelForSequenceClassification.from_pretrained(artifact)", "artifact"),
    ),
}
CODE = """
import json, sys, time
artifact, model, text, began = sys.argv[1:]
before = time.monotonic()
{imports}
after, spent = time.monotonic(), time.process_time()
label = {label}
first, processor = time.monotonic() - float(began), time.process_time()
lines = dict(line.split(":", 1) for line in open("/proc/self/status", encoding="utf-8"))
rss, peak = (int(lines[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
times = dict(import_s=after - before, first_s=first, import_cpu_s=spent, first_cpu_s=processor)
print(json.dumps(dict(label=label, **times, rss_mb=rss, peak_mb=peak)))
"""


@click.command()
@click.argument("artifact", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="WORK.")
@click.option("--text", default="Vláda schválila nový zákon o daniach.", show_default=True)
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1))
def main(artifact: Path, model: Path, output: Path, text: str, rounds: int) -> None:
    """Measure three installations at labelling one text with the student in ARTIFACT and MODEL."""
    opened = open_artifact(artifact)
    if opened.task.kind != "text":
        raise click.UsageError(f"{artifact} is for {opened.task.name}: give one that labels whole texts")
    pythons = {name: environment(name, output.absolute()) for name in SUBJECTS}
    given = (str(artifact.absolute()), str(model.absolute()), text)
    runs = measure(pythons, given, rounds)
    labels = {run.label for both in runs.values() for run in (*both["cold"], *both["warm"])}
    if len(labels) != 1:
        raise click.ClickException(f"the three do not say the same: {', '.join(sorted(labels))}; nothing was written")
    found = {name: figures(pythons[name], runs[name]) for name in SUBJECTS}
    ours = found["edgecompress"]
    summary = {
        "base_install_mb": ours["install_mb"],
        "cold_import_s": ours["cold_import_s"],
        "rss_mb": ours["rss_mb"],
        "subjects": found,
        "text": text, "label": labels.pop(), "model_mb": round(opened.model_bytes / 1e6, 1), "rounds": rounds,
        "host": asdict(host()),
    }  # fmt: skip
    write_json(RESULT, summary)
    click.echo(json.dumps(found, indent=1))


def environment(name: str, work: Path) -> Path:
    """Return the Python of an environment that holds the subject and what it needs, made where it is not there."""
    folder = work / name.replace(" ", "")
    python, ready, subject = folder / "bin" / "python", folder / ".ready", SUBJECTS[name]
    if not ready.is_file():
        click.echo(f"{folder}: {' '.join(subject.packages)}", err=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / subject.constraints)]
        subprocess.run([*install, *subject.packages], check=True)
        ready.touch()
    return python


def measure(pythons: Mapping[str, Path], given: Sequence[str], rounds: int) -> dict[str, dict[str, list[Run]]]:
    """Run every subject cold and then warm, in turns, every second round in reverse."""
    runs = {name: {"cold": list[Run](), "warm": list[Run]()} for name in pythons}
    os.sync()  # only written pages can be dropped
    for number in range(rounds):
        for name in sorted(pythons, reverse=number % 2 == 1):
            drop_cache([pythons[name].parents[1], Path(given[0]), Path(given[1])])
            for state in ("cold", "warm"):
                runs[name][state].append(label_once(pythons[name], SUBJECTS[name], given))
    return runs


def label_once(python: Path, subject: Subject, given: Sequence[str]) -> Run:
    """Label the text in a new process and return what it says of itself."""
    code = CODE.format(imports=subject.imports, label=subject.label)
    given_up = ("PYTHONPATH", "ORT_DISABLE_TELEMETRY")  # the second is ours: others are measured as they come
    variables = {name: value for name, value in os.environ.items() if name not in given_up}
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    command = [str(python), "-c", code, *given, str(time.monotonic())]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**variables, **quiet}, cwd="/")
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def drop_cache(folders: Sequence[Path]) -> None:
    """Ask the kernel to forget the pages of every file in ``folders``; other programs' files stay where they are."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                handle = os.open(path, os.O_RDONLY)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(handle)


def figures(python: Path, runs: Mapping[str, Sequence[Run]]) -> dict[str, object]:
    """Return the medians of one subject, see the head of this file."""
    places = next((python.parents[1] / "lib").glob("python*/site-packages"))
    files = [path for path in places.rglob("*") if path.is_file() and not _left_out(path.relative_to(places).parts[0])]
    listed = subprocess.run([str(python), "-m", "pip", "list", "--format=json"], stdout=subprocess.PIPE, check=True)
    versions = {row["name"]: row["version"] for row in json.loads(listed.stdout) if row["name"] not in _NOT_COUNTED}
    return {
        "install_mb": round(sum(path.stat().st_size for path in files) / 1e6, 1),
        "packages": len(versions),
        **{f"{state}_import_s": round(median(run.import_s for run in of), 3) for state, of in runs.items()},
        **{f"{state}_first_s": round(median(run.first_s for run in of), 3) for state, of in runs.items()},
        **{
            name: round(median(getattr(run, name) for run in runs["warm"]), 3)
            for name in ("import_cpu_s", "first_cpu_s")
        },
        **{name: round(median(getattr(run, name) for run in runs["warm"]), 1) for name in ("rss_mb", "peak_mb")},
        "versions": versions,
    }


def _left_out(name: str) -> bool:
    return name in _NOT_COUNTED or name.startswith(("pip-", "setuptools-"))


if __name__ == "__main__":
    main()
