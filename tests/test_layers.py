"""What the layers may import: the serving half runs in a process where torch and its company cannot be imported."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tiny_artifact import write_artifact

import edgecompress

ROOT = Path(__file__).parent.parent
TOP = ("__init__", "artifact", "errors", "files", "manifest", "pack", "progress", "records", "words")
FOLDERS = ("bench", "report", "runtime", "serve", "tasks", "web")
TORCH_FREE = [
    "edgecompress." + path.relative_to(ROOT / "edgecompress").with_suffix("").as_posix().replace("/", ".")
    for path in sorted((ROOT / "edgecompress").rglob("*.py"))
    if path.parent.name in FOLDERS or (path.parent.name == "edgecompress" and path.stem in TOP)
]
BLOCKER = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} must not be imported here")

sys.meta_path.insert(0, Blocker())
"""
TRAINING = ("torch", "transformers", "datasets", "accelerate", "sklearn", "seqeval", "onnx", "onnxscript")


def run(script, *blocked):
    code = BLOCKER.format(blocked=blocked) + script
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_list_of_modules_is_whole():
    assert {name.split(".")[1] for name in TORCH_FREE} == {*TOP, *FOLDERS}


def test_the_lower_layers_import_without_torch():
    script = f"for name in {TORCH_FREE!r}: importlib.import_module(name)"
    run(script, *TRAINING)


@pytest.mark.parametrize("task", ["sentiment", "ner"])
def test_a_predictor_loads_and_runs_without_torch(tmp_path, task):
    folder = str(write_artifact(tmp_path, task).folder)
    said = run(f"import edgecompress; print(edgecompress.load({folder!r})('Good Ján'))", *TRAINING, "rich", "click")
    assert said.startswith(
        "Label(label='positive'" if task == "sentiment" else "Tagged(words=(Word(text='Good', tag='O'"
    )


def test_the_package_itself_imports_next_to_nothing():
    run(
        "import edgecompress; edgecompress.__version__",
        *TRAINING,
        "onnxruntime",
        "numpy",
        "tokenizers",
        "rich",
        "click",
    )


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert edgecompress.__version__ == project["version"]
    assert set(edgecompress.__all__) == {"__version__", "load"}
