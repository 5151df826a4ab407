"""examples/ beside the predictor: other hosts read the same folder and say the same.

Node is skipped without its packages (`npm ci` in examples/node, or EDGECOMPRESS_NODE_MODULES), Rust without the built
program (`cargo build --release` in examples/rust, or EDGECOMPRESS_RUST_PREDICT). Real artifacts are taken from
EDGECOMPRESS_ARTIFACTS or demo-out/artifacts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tiny_artifact
from tiny_tokenizers import SENTENCES

from edgecompress.artifact import Artifact, open_artifact, seal
from edgecompress.runtime.predictor import load
from edgecompress.tasks import TASKS
from edgecompress.web.pattern import to_javascript
from edgecompress.words import DEFAULT_WORD_PATTERN

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NODE_MODULES = Path(os.environ.get("EDGECOMPRESS_NODE_MODULES", EXAMPLES / "node" / "node_modules"))
RUST = Path(os.environ.get("EDGECOMPRESS_RUST_PREDICT", EXAMPLES / "rust" / "target" / "release" / "predict"))
REAL = Path(os.environ.get("EDGECOMPRESS_ARTIFACTS", ROOT / "demo-out" / "artifacts"))
TEXTS = [
    "", "x", "good film", "bad, bad film.", "Ján Novák v Košice.", "don't kofola", "\u200d x \u200d", "日本 ☃",
    "a\u0301no ﬁ", "10.5 kôň", "je dobrý film", "Ján  Novák\tv\nKošice", "<mask> 'ta' Malta'", "Ġorġ Ġ xy",
    *SENTENCES[:4],
]  # fmt: skip
Host = Callable[[Path, Sequence[str], str], subprocess.CompletedProcess[str]]


def in_python(folder: Path, texts: Sequence[str], kind: str) -> subprocess.CompletedProcess[str]:
    script = EXAMPLES / "python" / ("label.py" if kind == "text" else "tag.py")
    # -S -E: what edgecompress was installed with, but not edgecompress itself, which may be an editable install
    code = (
        f"import sys, runpy; sys.modules['edgecompress'] = None; runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    return called([sys.executable, "-W", "error", "-c", code, str(folder), *texts])


def in_node(folder: Path, texts: Sequence[str], _kind: str) -> subprocess.CompletedProcess[str]:
    node = shutil.which("node")
    if node is None or not (NODE_MODULES / "onnxruntime-node").is_dir():
        pytest.skip("needs node and the packages of examples/node: npm ci, there")
    home = folder.parent / "hosts"  # as the files lie in a clone, with the packages from anywhere
    for name in ("examples/node/predict.mjs", "examples/words.json", *PREDICT_JS):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, home / name)
    modules = home / "examples" / "node" / "node_modules"
    if not modules.exists():
        modules.symlink_to(NODE_MODULES.resolve(), target_is_directory=True)
    return called([node, str(home / "examples" / "node" / "predict.mjs"), str(folder), *texts])


def in_rust(folder: Path, texts: Sequence[str], _kind: str) -> subprocess.CompletedProcess[str]:
    if not RUST.is_file():
        pytest.skip("needs the built program: cargo build --release, in examples/rust")
    sources = [EXAMPLES / "rust" / "Cargo.toml", EXAMPLES / "rust" / "src" / "main.rs", EXAMPLES / "words.json"]
    if RUST.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        pytest.skip(f"{RUST} is older than its source: build it again")
    library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    return called([str(RUST), str(folder), *texts], ORT_DYLIB_PATH=str(library))


HOSTS: dict[str, Host] = {"python": in_python, "node": in_node, "rust": in_rust}
PREDICT_JS = ("edgecompress/web/static/predict.js", "edgecompress/web/static/package.json")


def called(words: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", **more}
    return subprocess.run(
        words, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300, env=environment
    )


def with_unigram(folder: Path, task: str) -> Artifact:
    """An artifact with XLM-R's kind of tokenizer, and a graph of random rows."""
    artifact = tiny_artifact.write_artifact(folder, task)
    tokenizer = tiny_artifact.unigram()
    rows = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), len(artifact.labels))).astype(np.float32)
    tiny_artifact.write_graph(folder / "model.onnx", rows, TASKS[task].kind)
    tokenizer.save(str(folder / "tokenizer.json"))
    return seal(replace(artifact, pad_id=1))


def compare(host: Host, artifact: Artifact, texts: Sequence[str], tolerance: float) -> None:
    """Hold each line of the host against the predictor's answer."""
    done = host(artifact.folder, texts, artifact.task.kind)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for text, line, wanted in zip(texts, lines, load(artifact.folder, threads=1)(list(texts)), strict=True):
        assert line["text"] == text
        if artifact.task.kind == "text":
            assert line["label"] == wanted.label, text
            assert line["probability"] == pytest.approx(wanted.probability, abs=tolerance)
            continue
        assert [(word["text"], word["tag"]) for word in line["words"]] == [(w.text, w.tag) for w in wanted.words], text
        given = [word["probability"] for word in line["words"]]
        assert given == pytest.approx([word.probability for word in wanted.words], abs=tolerance)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("make", [tiny_artifact.write_artifact, with_unigram], ids=["wordpiece", "unigram"])
@pytest.mark.parametrize("host", HOSTS)
def test_the_same_labels(tmp_path: Path, host: str, make: Callable[..., Artifact], task: str) -> None:
    artifact = make(tmp_path / "a", task)
    short = [text for text in TEXTS if load(artifact.folder)(text).windows == 1]
    assert len(short) > len(TEXTS) / 2
    compare(HOSTS[host], artifact, short, 1e-5)


@pytest.mark.parametrize("kind", ["text", "token"])
@pytest.mark.parametrize("host", ["python", "rust"])
def test_a_text_that_is_too_long_says_so(tmp_path: Path, host: str, kind: str) -> None:
    artifact = tiny_artifact.write_artifact(tmp_path / "a", {"text": "topic", "token": "ner"}[kind])
    done = HOSTS[host](artifact.folder, ["good " * 14, "good " * 15], kind)
    assert [json.loads(line)["cut"] for line in done.stdout.splitlines()] == [False, True]


def test_node_reads_a_long_text_in_windows_as_python_does(tmp_path: Path) -> None:
    compare(in_node, tiny_artifact.write_artifact(tmp_path / "a", "ner"), ["Ján Novák v Košice. " * 12], 1e-5)


@pytest.mark.parametrize("host", ["node", "rust"])
def test_an_unknown_word_pattern_is_refused(tmp_path: Path, host: str) -> None:
    artifact = seal(replace(tiny_artifact.write_artifact(tmp_path / "a", "ner"), word_pattern=r"\w+"))
    done = HOSTS[host](artifact.folder, ["x"], "token")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "words.json lacks this artifact's word_pattern" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_patterns_elsewhere_are_those_of_the_page() -> None:
    known: dict[str, Any] = json.loads((EXAMPLES / "words.json").read_text("utf-8"))
    assert DEFAULT_WORD_PATTERN in known
    assert known == {pattern: to_javascript(pattern) for pattern in known}  # those of earlier artifacts, too


@pytest.mark.parametrize("host", HOSTS)
def test_nothing_is_kept_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"):  # the second is set here by `import edgecompress`
        monkeypatch.delenv(name, raising=False)
    compare(HOSTS[host], tiny_artifact.write_artifact(tmp_path / "a"), ["good"], 1e-5)
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("host", HOSTS)
def test_real_artifacts(tmp_path: Path, host: str) -> None:
    found = sorted(path.parent for path in REAL.glob("*/edgecompress-artifact.json"))
    if not found:
        pytest.skip("needs real artifacts: make demo, or EDGECOMPRESS_ARTIFACTS")
    for folder in found:
        copy = tmp_path / folder.name / "a"  # hosts may put files beside an artifact here
        shutil.copytree(folder, copy)
        compare(HOSTS[host], open_artifact(copy), [text for text in TEXTS if "ﬁ" not in text], 0.02)
