"""Do artifacts say on ARM what they say on x86: real texts, in an emulated aarch64 userland, on several CPU models.

    python benchmarks/arm.py demo-out/artifacts -o WORK

The folder holds `student-TASK-fp32` artifacts, as `make demo` writes them; the other schemes are made of these. The
same files are then opened by the same versions of the same libraries (constraints.txt) here and in the userland (see
userland.py), and answer the same texts of the demo's test splits. Written to benchmarks/results/serve/arm.json: equal
labels, differences of logits, by task, scheme and CPU model. Exit 1 where they are past TOLERANCE. WORK keeps every
answer: stop it and it goes on. Emulated time says nothing about any ARM, so none is written.

The default scheme runs on every CPU model, the other schemes on one. `x86-64-avx2` is this machine's Python emulated on
an x86 CPU without VNNI (`qemu-x86_64 -cpu max`): sums of int8 products saturate there (`integer_sums`). `one-ulp`
is this CPU with the biases and normalisations moved by one unit in the last place: what rounding alone does.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
from answers import SUMMED, agreement, demo_texts
from userland import CPUS, ROOT, Userland, introduce, lacking, make

from edgecompress.artifact import open_artifact, seal
from edgecompress.bench.host import host
from edgecompress.export.layouts import copy_beside
from edgecompress.export.quantize import quantize
from edgecompress.files import new_folder, sha256, write_json
from edgecompress.tasks import TASKS

RESULT = ROOT / "benchmarks" / "results" / "serve" / "arm.json"
DEFAULT, OTHERS, FULL = "int8-tables4", ("fp32", "dynamic-int8", "int4"), "neoverse-n1"
REDUCED = f"{DEFAULT}-reduced"  # for x86 without VNNI: it must agree there
AVX2, ULP = "x86-64-avx2", "one-ulp"
X86: dict[str, list[str]] = {"": [], ULP: [], AVX2: ["qemu-x86_64", "-cpu", "max"]}  # qemu's emulated x86 ends at AVX2
CONTROLS = (ULP, AVX2)  # there to be seen, not to pass
COMPARED = (FULL, *(cpu for cpu in CPUS if cpu != FULL), *CONTROLS)
PLAN = (*((cpu, DEFAULT) for cpu in COMPARED), *((FULL, scheme) for scheme in OTHERS), (AVX2, REDUCED))
LEAST = 64  # numbers in a vector that is moved: not a scale alone
# Scheme → the least share of equal labels, the largest root mean square difference of logits over their spread.
TOLERANCE = {"fp32": (1.0, 1e-4), "dynamic-int8": (0.99, 0.05), DEFAULT: (0.99, 0.05), "int4": (0.99, 0.05),
             REDUCED: (0.99, 0.05)}  # fmt: skip


@dataclass(frozen=True)
class Lab:
    """Where things are: ``artifacts`` by (task, scheme); ``texts`` by task, ``fewer`` for the slower comparisons."""

    work: Path
    userland: Userland
    artifacts: dict[tuple[str, str], Path]
    texts: dict[str, list[str]]
    fewer: dict[str, list[str]]

    def asked(self, cpu: str, task: str, scheme: str) -> list[str]:
        """Return the texts of one comparison: all for the default scheme on the CPU that has every scheme."""
        return (self.texts if (cpu, scheme) in ((FULL, DEFAULT), (ULP, DEFAULT)) else self.fewer)[task]


@click.command()
@click.argument("students", type=click.Path(file_okay=False, path_type=Path))
@click.option("-o", "--output", "work", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--texts", default=200, show_default=True, type=click.IntRange(1), help="Of every task.")
@click.option("--fewer", default=0, type=click.IntRange(0), help=f"Texts but for {DEFAULT} on {FULL}.  [default: all]")
@click.option("--cpu", "cpus", multiple=True, type=click.Choice(COMPARED), help="Only these.")
@click.option("--scheme", "schemes", multiple=True, type=click.Choice(list(TOLERANCE)), help="Only these.")
def main(students: Path, work: Path, texts: int, fewer: int, cpus: Sequence[str], schemes: Sequence[str]) -> None:
    """Compare the students of STUDENTS on x86 and on emulated ARM."""
    if why := lacking():
        raise click.ClickException(f"the ARM test {why}")
    tasks = [task for task in TASKS if (students / f"student-{task}-fp32").is_dir()]
    if not tasks:
        raise click.ClickException(
            f"{students} holds no student-TASK-fp32: run `make demo` first, or name its artifacts"
        )
    wanted = [pair for pair in PLAN if pair[0] in (cpus or COMPARED) and pair[1] in (schemes or TOLERANCE)]
    made = {(task, scheme): artifact(students, work, task, scheme) for task in tasks for _, scheme in wanted}
    own, others = ({task: demo_texts(task, count) for task in tasks} for count in (texts, fewer or texts))
    lab = Lab(work, make(work), made, own, others)
    rows: list[dict[str, Any]] = []
    sums = {cpu or "here": products(lab, cpu) for cpu in ("", *dict.fromkeys(cpu for cpu, _ in wanted if cpu != ULP))}
    for cpu, scheme in wanted:
        rows += [row(lab, cpu, task, scheme) for task in tasks]
        write_json(RESULT, {**summary(rows), "integer_sums": sums})  # hours may follow
    if wrong := [one for one in rows if not one["within"]]:
        named = ", ".join(f"{one['task']} {one['scheme']} on {one['cpu']}" for one in wrong)
        raise click.ClickException(f"past the tolerance: {named}; see {RESULT}")


def artifact(students: Path, work: Path, task: str, scheme: str) -> Path:
    """Return the task's artifact in ``scheme``, made of the float one."""
    source = students / f"student-{task}-fp32"
    if scheme == "fp32":
        return source
    target = work / "artifacts" / f"student-{task}-{scheme}"
    if not (target / "edgecompress-artifact.json").is_file():
        click.echo(f"making {target.name} …")
        quantize(open_artifact(source), target, scheme=scheme)
    return target


def row(lab: Lab, cpu: str, task: str, scheme: str) -> dict[str, Any]:
    """Return how far a CPU model's answers are from this machine's."""
    given = lab.asked(cpu, task, scheme)
    ours, theirs = (answered(lab, one, lab.artifacts[task, scheme], given) for one in ("", cpu))
    found = agreement(ours, theirs)
    share, error = TOLERANCE[scheme]
    within = cpu in CONTROLS or (found["equal"] >= share * found["labels"] and found["error"] <= error)
    within = within and found["texts_as_tokens"] == len(given)
    click.echo(f"{cpu} {task} {scheme}: {found}")
    return {
        "task": task,
        "scheme": scheme,
        "cpu": cpu,
        "texts": len(given),
        **found,
        "within": within,
        "machine": theirs["machine"],
    }


def answered(lab: Lab, cpu: str, folder: Path, given_texts: Sequence[str]) -> Any:
    """Return the answers of one artifact on one CPU ("": this machine's own), kept in WORK."""
    texts = json.dumps(given_texts)
    seed = sha256(folder / "edgecompress-artifact.json") + texts + (ROOT / "constraints.txt").read_text("utf-8")
    digest = hashlib.sha256(seed.encode()).hexdigest()[:10]
    target = lab.work / "answers" / f"{cpu or 'here'}-{folder.name.removeprefix('student-')}-{digest}.json"
    if not target.is_file():
        given = target.with_suffix(".texts")
        given.parent.mkdir(parents=True, exist_ok=True)
        given.write_text(texts, encoding="utf-8")
        asked = nudged(folder, lab.work / "artifacts" / f"{folder.name}-{ULP}") if cpu == ULP else folder
        _answer(lab, cpu, [str(Path(__file__).with_name("answers.py")), *map(str, (asked, given, target))])
        given.unlink()
    return json.loads(target.read_text(encoding="utf-8"))


def products(lab: Lab, cpu: str) -> Any:
    """Return how many sums of uint8 × int8 products a CPU has wrong: all its int8 layers are made of such."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save

    model, target = lab.work / "product.onnx", lab.work / "answers" / f"{cpu or 'here'}-product.json"
    weights = np.random.default_rng(1).integers(-127, 128, (SUMMED, 64)).astype(np.int8)
    nodes = [helper.make_node("MatMulInteger", ["a", "b0"], ["sums"]), helper.make_node("Identity", ["b0"], ["b"])]
    ends = {"a": (TensorProto.UINT8, ["m", SUMMED]), "sums": (TensorProto.INT32, ["m", 64]),
            "b": (TensorProto.INT8, [SUMMED, 64])}  # fmt: skip
    given, *found = (helper.make_tensor_value_info(name, *kind) for name, kind in ends.items())
    graph = helper.make_graph(nodes, "product", [given], found, [numpy_helper.from_array(weights, "b0")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), model)
    _answer(lab, cpu, [str(Path(__file__).with_name("answers.py")), str(model), str(target)])
    return json.loads(target.read_text(encoding="utf-8"))


def nudged(folder: Path, target: Path) -> Path:
    """Write the artifact with every vector of floats moved by one unit in the last place, up or down at random."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    artifact, drawn = open_artifact(folder), np.random.default_rng(0)
    with new_folder(target, replace=True) as draft:
        copy_beside(artifact, draft)
        model = onnx.load(artifact.model_path)
        for one in model.graph.initializer:
            if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) == 1 and one.dims[0] >= LEAST:
                values = numpy_helper.to_array(one)
                towards = np.where(drawn.random(values.shape) < 0.5, -np.inf, np.inf).astype(np.float32)
                one.CopyFrom(numpy_helper.from_array(np.nextafter(values, towards), one.name))
        onnx.save(model, draft / artifact.model_file)
        seal(replace(artifact, folder=draft))
    return target


def _answer(lab: Lab, cpu: str, words: Sequence[str]) -> None:
    environment = {**lab.userland.environment(), "OMP_NUM_THREADS": "1"}
    if cpu in CPUS:
        introduce(lab.userland, cpu)
        command = lab.userland.command(cpu, *words)
    else:
        environment["PYTHONPATH"] = str(ROOT)
        command = [*X86[cpu], sys.executable, *words]
    if subprocess.run(command, check=False, env=environment).returncode:
        raise click.ClickException(f"{cpu or 'this machine'} did not answer: {' '.join(words)}")


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what is written: the shares of equal labels over all tasks (words for token tasks), and every row."""
    shares = {
        f"{cpu} {scheme}": _share([one for one in rows if (one["cpu"], one["scheme"]) == (cpu, scheme)])
        for cpu, scheme in dict.fromkeys((one["cpu"], one["scheme"]) for one in rows)
    }
    machines = {one["cpu"]: one["machine"] for one in rows}
    arm = [one for one in rows if one["cpu"] in CPUS and one["scheme"] == DEFAULT]
    return {
        "arm_label_agreement": _share(arm),
        "label_agreement": shares,
        "rows": [{name: value for name, value in one.items() if name != "machine"} for one in rows],
        "cpus": {name: {**asdict(CPUS[name]), **machines[name]} for name in machines if name in CPUS},
        "tolerance": {name: {"equal": share, "error": error} for name, (share, error) in TOLERANCE.items()},
        "qemu": _version("qemu-aarch64"),
        "host": asdict(host()),
    }


def _share(rows: Sequence[dict[str, Any]]) -> float | None:
    labels = sum(one["labels"] for one in rows)
    return round(sum(one["equal"] for one in rows) / labels, 5) if labels else None


def _version(program: str) -> str:
    found = subprocess.run([str(shutil.which(program)), "--version"], capture_output=True, text=True, check=True)
    return found.stdout.splitlines()[0]


if __name__ == "__main__":
    main()
