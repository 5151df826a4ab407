"""Artifacts whose encoder is the same become one: all their tasks from one pass. No torch here."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgecompress.artifact import Artifact
from edgecompress.errors import CheckError, InputError
from edgecompress.export.compare import batches, compare, vocabulary_of
from edgecompress.export.graph import read, write
from edgecompress.export.layouts import OPERATORS
from edgecompress.export.merge import Sharing, merge
from edgecompress.export.quantize import equal_decisions
from edgecompress.export.schemes import UNQUANTIZED
from edgecompress.files import NAME, need_space, new_folder
from edgecompress.manifest import TOKENIZER_FILE
from edgecompress.pack import FEWEST, Pack, open_any, seal_pack
from edgecompress.records import Step
from edgecompress.runtime.encoding import open_tokenizer
from edgecompress.runtime.pack import from_pack, readings
from edgecompress.runtime.predictor import from_artifact
from edgecompress.runtime.reading import prepare, reading_of
from edgecompress.runtime.running import OUTPUT
from edgecompress.runtime.session import open_run

MODEL_FILE = "model.onnx"
SAMPLES = ("Peter Sagan sa narodil v Žiline.", "Il-Belt Valletta, 2018: il-prezz tela’!", "Habari ya asubuhi?", "…")
# Of the largest logit. A quantized graph may round otherwise where a value that two heads read is not fused away.
_EXACT, _ROUNDED = 1e-3, 0.02


@dataclass(frozen=True)
class Request:
    """How to pack: ``texts`` to compare decisions on; ``one_pass`` lets text tasks read the words that token tasks
    read; a head must share ``min_shared`` of its matrix products, and keep ``min_agreement`` of its decisions.
    """

    texts: tuple[str, ...] = ()
    one_pass: bool = False
    min_shared: float = 0.25
    min_agreement: float = 0.95
    replace: bool = False


@dataclass(frozen=True)
class Packed:
    """A written pack: what its heads share, and ``agreement`` of each head's decisions with its artifact's on texts."""

    pack: Pack
    sharing: Sharing
    agreement: Mapping[str, float | None]

    @property
    def passes(self) -> int:
        """How many ways of reading there are: a text whose ids are the same in each passes once."""
        return len(readings(self.pack.heads))


def pack(artifacts: Mapping[str, Artifact], target: Path, request: Request = Request()) -> Packed:
    """Write the artifacts, by the names of their heads, as one pack to ``target``.

    Every head's logits are compared with its artifact's on random ids of several shapes and on text. Raises InputError
    for artifacts that cannot be joined, or whose encoders differ; CheckError when logits or decisions do: then nothing
    is written.
    """
    _check_given(artifacts, request)
    with new_folder(target, replace=request.replace) as draft:
        need_space(draft, 2 * sum(one.model_bytes for one in artifacts.values()))
        outputs = {name: f"{OUTPUT}_{name}" for name in artifacts}
        graph, sharing = merge({name: read(one.model_path) for name, one in artifacts.items()}, outputs)
        _check_shared(artifacts, sharing, request.min_shared)
        write(graph, draft / MODEL_FILE)
        del graph
        _copy_common(artifacts, draft)
        heads = {
            name: replace(one, folder=draft, output=outputs[name], model_file=MODEL_FILE, checksums={},
                          word_pattern=_pattern(artifacts, one, request))
            for name, one in artifacts.items()
        }  # fmt: skip
        made = seal_pack(Pack(heads))
        differences = _differences(artifacts, made, request.texts or SAMPLES)
        agreement = _agreement(artifacts, made, request)
        seal_pack(replace(made, history=(_step(request, sharing, differences, agreement),)))
    opened = open_any(target)
    assert isinstance(opened, Pack)  # noqa: S101 - it was just written; for mypy
    return Packed(opened, sharing, agreement)


def _check_given(artifacts: Mapping[str, Artifact], request: Request) -> None:
    if len(artifacts) < FEWEST:
        raise InputError(f"{len(artifacts)} artifact is no pack: give {FEWEST} or more")
    for name, one in artifacts.items():
        if not NAME.fullmatch(name):
            raise InputError(f"{name!r} cannot name a head: use letters, digits, '.', '_' and '-'")
        if one.model_path.suffix != ".onnx":
            raise InputError(f"{one.folder} is in {one.model_path.suffix} format: pack the original")
    first, *others = artifacts.values()
    for other in others:
        if (other.checksums[TOKENIZER_FILE], other.pad_id) != (first.checksums[TOKENIZER_FILE], first.pad_id):
            raise InputError(f"{first.folder} and {other.folder} have different tokenizers: pack students of one "
                             f"multi-task fine-tuning")  # fmt: skip
    if request.one_pass and not request.texts:
        raise InputError("--one-pass changes what text tasks read: give --text FILE, a hundred lines or more, on which "
                         "their decisions are compared")  # fmt: skip


def _check_shared(artifacts: Mapping[str, Artifact], sharing: Sharing, least: float) -> None:
    name = min(artifacts, key=sharing.share)
    own, shared = sharing.products[name]
    if sharing.share(name) < least:
        raise InputError(
            f"{artifacts[name].folder} shares {shared} of its {own} matrix products with the others, "
            f"{100 * least:g} % are needed (--min-shared): their encoders differ, pack students of one multi-task "
            f"fine-tuning, in one scheme"
        )


def _pattern(artifacts: Mapping[str, Artifact], one: Artifact, request: Request) -> str | None:
    """Return how a head cuts texts into words: as its artifact does, or in one pass as the token tasks do."""
    patterns = {other.word_pattern for other in artifacts.values() if other.word_pattern is not None}
    if not request.one_pass or one.word_pattern is not None or not patterns:
        return one.word_pattern
    if len(patterns) > 1:
        raise InputError("the token tasks cut texts into words in different ways: leave --one-pass out")
    return next(iter(patterns))


def _copy_common(artifacts: Mapping[str, Artifact], draft: Path) -> None:
    """Copy the tokenizer, and what else all have alike; labels and the like are each artifact's own."""
    first, *others = artifacts.values()
    for name, digest in first.checksums.items():
        of_graph = name.startswith(first.model_file) or Path(name).name == OPERATORS
        if not of_graph and all(other.checksums.get(name) == digest for other in others):
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(first.folder / name, draft / name)


def _differences(artifacts: Mapping[str, Artifact], made: Pack, texts: Sequence[str]) -> dict[str, float]:
    """Return each head's largest difference of logits, of the largest logit. Raises CheckError past the tolerance."""
    tokenizer = open_tokenizer(made.tokenizer_path)
    found = {}
    for name, one in artifacts.items():
        head = made.heads[name]
        ids = [own.ids for own in prepare(reading_of(head), tokenizer, texts).encoded if own.ids]
        given = batches(vocabulary_of(one), ids)
        rows = compare(open_run(one.model_path), open_run(head.model_path, output=head.output), given)
        allowed = _EXACT if one.scheme in UNQUANTIZED else _ROUNDED
        if not rows.largest <= allowed:
            raise CheckError(
                f"packing moves the logits of {name} by {rows.largest:.2g} of the largest, {allowed:g} is allowed: "
                f"nothing was written, please report this model's type and sizes"
            )
        found[name] = rows.largest
    return found


def _agreement(artifacts: Mapping[str, Artifact], made: Pack, request: Request) -> dict[str, float | None]:
    """Return the share of equal decisions on the texts by head, one text at a time. Raises CheckError below the least.

    One pass changes what a text task reads, so that logits alone do not tell.
    """
    texts = list(request.texts)
    together = from_pack(made, batch_size=1)(texts)
    found = {}
    for name, one in artifacts.items():
        alone = from_artifact(one, batch_size=1)(texts)
        found[name] = equal_decisions(alone, [of_text[name] for of_text in together])
        share = found[name]
        if share is not None and share < request.min_agreement:
            raise CheckError(
                f"the pack changes {100 * (1 - share):.1f} % of the decisions of {name}, "
                f"{100 * (1 - request.min_agreement):.1f} % are allowed (--min-agreement): nothing was written"
            )
    return found


def _step(
    request: Request, sharing: Sharing, differences: Mapping[str, float], agreement: Mapping[str, float | None]
) -> Step:
    details: dict[str, Any] = {
        "difference": differences,
        "nodes": list(sharing.nodes),
        "products": {name: list(counts) for name, counts in sharing.products.items()},
    }
    if request.texts:
        details |= {"agreement": agreement, "texts": len(request.texts)}
    return Step("pack", {"one_pass": request.one_pass, "min_shared": request.min_shared}, details=details)
