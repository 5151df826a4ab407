"""An artifact as a folder of static files: a page, its scripts, the model, and a service worker that keeps them.

Every file but ``index.html`` and ``sw.js`` has a piece of its SHA-256 in its name. A page therefore never meets a file
of another export, and a visitor who comes back after one loads only what has changed.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path, PurePosixPath
from typing import Any

from edgecompress.artifact import Artifact
from edgecompress.errors import ArtifactError, InputError, OutputError
from edgecompress.files import new_folder, write_text
from edgecompress.runtime.reading import unseen_tag
from edgecompress.web.pattern import to_javascript
from edgecompress.web.vendor import packages

_FOLDER = "files"
_OWN = {"index.html", "sw.js", _FOLDER}  # what lies in a written page's folder
_DIGITS = 10  # of the digest in a file's name
_SCRIPTS = ("app.js", "predict.js", "style.css")
_VENDORED: Mapping[str, tuple[str, str]] = {  # what the page calls it → package, file
    "ort.mjs": ("onnxruntime-web", "dist/ort.wasm.bundle.min.mjs"),
    "ort.wasm": ("onnxruntime-web", "dist/ort-wasm-simd-threaded.wasm"),
    "tokenizers.mjs": ("@huggingface/tokenizers", "dist/tokenizers.min.mjs"),
    "tokenizers.LICENSE": ("@huggingface/tokenizers", "LICENSE"),
}
_LARGE = (
    "model.onnx",
    "model.ort",
    "ort.wasm",
    "tokenizer.json",
)  # the page loads these itself and shows how far it is
_KINDS: Mapping[str, str] = {
    "topic": "Topic of a text",
    "sentiment": "Sentiment of a text",
    "ner": "Names in a text",
    "pos": "Parts of speech",
}


@dataclass(frozen=True)
class Wording:
    """What the page says: ``title``, ``examples`` to choose from, ``language`` of the text (BCP 47; "": unknown)."""

    title: str
    examples: Sequence[str] = ()
    language: str = ""


@dataclass(frozen=True)
class Site:
    """A written site; ``sizes`` maps every file, relative to ``folder``, to its bytes."""

    folder: Path
    sizes: Mapping[str, int]


def write_site(
    artifact: Artifact, target: Path, *, wording: Wording, vendor: Path | None = None, replace: bool = False
) -> Site:
    """Write a page that runs ``artifact`` in a browser to ``target``; it needs no server but one for static files.

    The scripts of onnxruntime and tokenizers come from ``vendor``, else from npm (see ``web.vendor``). Raises
    ArtifactError for an artifact that browsers cannot run alike, InputError when the scripts cannot be had, OutputError
    for a place that cannot be written.
    """
    about = describe(artifact, wording)
    _refuse_foreign(target)
    with new_folder(target, replace=replace) as draft:
        (draft / _FOLDER).mkdir()
        sources = _sources(artifact, packages(vendor))
        names = {name: _add(draft, name, source.read_bytes()) for name, source in sources.items()}
        sized = {name: (draft / path).stat().st_size for name, path in names.items()}
        parts = {name: {"path": path, "bytes": sized[name]} for name, path in names.items()}
        described = json.dumps({**about, "files": parts}, ensure_ascii=False, indent=1)
        names["site.json"] = _add(draft, "site.json", described.encode("utf-8"))
        _write_shell(draft, names, wording, about)
        sizes = {path.relative_to(draft).as_posix(): path.stat().st_size for path in sorted(draft.rglob("*.*"))}
    return Site(target, sizes)


def _refuse_foreign(target: Path) -> None:
    """Raise OutputError where ``replace`` would delete something else than an earlier page."""
    others = sorted({path.name for path in target.iterdir()} - _OWN) if target.is_dir() else []
    if others:
        raise OutputError(f"{target} is not empty and holds {others[0]}, which no page has: choose another -o")


def note(artifact: Artifact) -> str:
    """Return what the page does only nearly as Python does, one sentence, "" where it does all alike."""
    if '"Precompiled"' not in artifact.tokenizer_path.read_text(encoding="utf-8"):
        return ""
    return (
        "this tokenizer's own character map is done as NFKC in browsers: a text with rare characters may get other "
        "tokens there"
    )


def describe(artifact: Artifact, wording: Wording) -> dict[str, Any]:
    """Return what the page must know to predict as the Python predictor does. Raises ArtifactError, InputError."""
    beside = [name for name in artifact.checksums if name.startswith(f"{artifact.model_file}.")]
    if beside:
        raise InputError(
            f"{artifact.folder} keeps its weights in files of their own ({beside[0]}), which is too large for a page: "
            f"quantize it first"
        )
    task, labels = artifact.task, artifact.labels
    if task.kind == "text" and artifact.word_pattern is not None:
        raise ArtifactError(f"{artifact.folder} reads the words of a text to label it, the page reads it as it "
                            f"is: give an artifact without a word pattern")  # fmt: skip
    return {
        "title": wording.title,
        "examples": list(wording.examples),
        "language": wording.language,
        "task": task.name,
        "kind": task.kind,
        "spans": task.spans,
        "labels": list(labels),
        "unseen": unseen_tag(artifact),
        "max_length": artifact.max_length,
        "pad_id": artifact.pad_id,
        "word_pattern": to_javascript(artifact.word_pattern or "") if task.kind == "token" else "",
        "model": f"model{PurePosixPath(artifact.model_file).suffix}",
        "scheme": artifact.scheme,
        "parameters": artifact.parameters,
    }


def _sources(artifact: Artifact, vendored: Mapping[str, Path]) -> dict[str, Path]:
    static = Path(str(resources("edgecompress.web") / "static"))
    model = f"model{artifact.model_path.suffix}"
    return {
        **{name: static / name for name in _SCRIPTS},
        **{name: vendored[package] / path for name, (package, path) in _VENDORED.items()},
        "tokenizer.json": artifact.tokenizer_path,
        model: artifact.model_path,
    }


def _add(draft: Path, name: str, content: bytes) -> str:
    """Write a file under a name that holds its digest, and return its path relative to the page."""
    stem, suffix = name.rsplit(".", 1)
    path = f"{_FOLDER}/{stem}.{hashlib.sha256(content).hexdigest()[:_DIGITS]}.{suffix}"
    (draft / path).write_bytes(content)
    return path


def _write_shell(draft: Path, names: Mapping[str, str], wording: Wording, about: Mapping[str, Any]) -> None:
    """Write the two files whose names stay: the page and the service worker, each naming the others."""
    static = Path(str(resources("edgecompress.web") / "static"))
    said = {
        "title": wording.title,
        "kind": _KINDS.get(about["task"], about["task"]),
        "language": wording.language,
        **{name: path for name, path in names.items() if name in (*_SCRIPTS, "ort.mjs", "tokenizers.mjs", "site.json")},
    }
    page = (static / "index.html").read_text(encoding="utf-8")
    for name, text in said.items():
        page = page.replace(f"{{{{{name}}}}}", html.escape(text))
    large = [path for name, path in names.items() if name in _LARGE]
    small = ["./", *(path for path in names.values() if path not in large)]
    worker = (static / "sw.js").read_text(encoding="utf-8")
    digest = hashlib.sha256("\n".join([page, *sorted(names.values())]).encode("utf-8")).hexdigest()[:_DIGITS]
    for name, value in (("VERSION", digest), ("SMALL", small), ("LARGE", large)):
        worker = worker.replace(f'"{{{{{name}}}}}"', json.dumps(value))
    write_text(draft / "index.html", page)
    write_text(draft / "sw.js", worker)
