"""The paper's cuts at full scale, on random weights: what they leave, how long they take, how much memory.

    EDGECOMPRESS_DATA=../shared/data python benchmarks/structure.py xlmr
    EDGECOMPRESS_DATA=../shared/data python benchmarks/structure.py mbert

The teacher is a random-weight model of the real shape with the real tokenizer: parameters, seconds and memory do not
depend on the weights. The stages are those of models/paper-*/recipe.toml with every training step left out, and text of
three languages, so that 40,000 pieces are really in use. The smallest student is written to a folder and loaded again
by plain transformers.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import torch
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertTokenizerFast,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from edgecompress import recipe as recipes
from edgecompress.bench.host import host
from edgecompress.corpus import Corpus
from edgecompress.encoder import sources, surgery
from edgecompress.encoder.bundle import Bundle, save
from edgecompress.files import write_json
from edgecompress.stages import STAGES

if TYPE_CHECKING:
    from edgecompress.recipe import Node

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("EDGECOMPRESS_DATA", ROOT.parent / "shared" / "data"))
SMALL = 1_000_000  # bytes, compressed
LANGUAGES = ("mlt_Latn", "slk_Latn", "swh_Latn")


def xlmr() -> Bundle:
    """XLM-R base: 278 M parameters with its masked-LM head."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(DATA.parent / "tokenizers" / "xlm-r" / "tokenizer.json"),
        bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_max_length=512,
    )  # fmt: skip
    config = XLMRobertaConfig(vocab_size=250002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    return Bundle(XLMRobertaForMaskedLM(config).eval(), tokenizer)


def mbert() -> Bundle:
    """Multilingual BERT, cased: 178 M parameters with its masked-LM head."""
    tokenizer = BertTokenizerFast(str(DATA.parent / "tokenizers" / "mbert" / "vocab.txt"), do_lower_case=False)
    return Bundle(BertForMaskedLM(BertConfig(vocab_size=119547)).eval(), tokenizer)


def _timed(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            CUTS.append(time.perf_counter() - began)

    return call


CUTS: list[float] = []  # seconds of each cut of the stage that runs; counting text and importance are not cuts
for _name in ("keep", "keep_layers"):
    setattr(surgery, _name, _timed(getattr(surgery, _name)))

TEACHERS = {"xlmr": xlmr, "mbert": mbert}


@click.command()
@click.argument("teacher", type=click.Choice(list(TEACHERS)))
@click.option("--tokens", default=2048, show_default=True, help="Text that importance is computed on.")
def main(teacher: str, tokens: int) -> None:
    """Run the cuts of one paper recipe and write benchmarks/results/structure-TEACHER.json."""
    torch.manual_seed(0)
    recipe = recipes.read(ROOT / "models" / f"paper-{teacher}" / "recipe.toml")
    made, rows = {"teacher": TEACHERS[teacher]()}, []
    with TemporaryDirectory() as scratch:
        save(made["teacher"], Path(scratch))  # what a user has is a folder: start from one
        made["teacher"] = sources.load(scratch)
        full = made["teacher"].parameters
        for node in recipe.nodes:
            if node.stage == "finetune":
                continue
            began = time.perf_counter()
            CUTS.clear()
            made[node.name] = STAGES[node.stage].run(made[node.source], **_arguments(node, tokens))
            rows.append(_row(node, made[node.name], full, time.perf_counter() - began))
            if node.stage == "trim":
                rows[-1]["reload"] = _reload(made[node.name])
            for name in set(made) - {other.source for other in recipe.nodes} - {node.name}:
                del made[name]  # memory is what is measured: keep what a later stage starts from
            click.echo(rows[-1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    result = {"teacher": teacher, "weights": "random", "teacher_parameters": full, "importance_tokens": tokens}
    result |= {"cut_seconds": round(sum(r["cut_seconds"] for r in rows), 1), "peak_gb": round(peak, 2), "rows": rows}
    write_json(ROOT / "benchmarks" / "results" / f"structure-{teacher}.json", {**result, "host": asdict(host())})


def _arguments(node: Node, tokens: int) -> dict[str, Any]:
    """Return the recipe's own options, without training, on three languages' text, and without a second teacher."""
    found = dict(node.arguments)
    if "training" in found:
        found["training"] = replace(found["training"], steps=0, epochs=0.0)
    if "corpora" in found:
        found["corpora"] = tuple(
            Corpus(language, tuple(p for p in sorted((DATA / "text" / language).glob("*.txt.gz")) if _small(p)))
            for language in LANGUAGES
        )
    if node.stage == "prune":
        found["tokens"] = tokens
        found["corpora"] = (Corpus("held-out", (DATA / "flores" / "slk_Latn" / "dev.txt",)),)
    return {name: value for name, value in found.items() if name != "teacher"}


def _small(path: Path) -> bool:
    """Leave out the few large sources: 40,000 pieces are in use without them."""
    return path.stat().st_size < SMALL


def _row(node: Node, bundle: Bundle, full: int, seconds: float) -> dict[str, Any]:
    return {
        "name": node.name,
        "stage": node.stage,
        "parameters": bundle.parameters,
        "below_teacher_percent": round(100 * (1 - bundle.parameters / full), 1),
        "seconds": round(seconds, 1),
        "cut_seconds": round(sum(CUTS), 1),
        **({"details": dict(bundle.history[-1].details)} if node.stage == "trim" else {}),
    }


def _reload(bundle: Bundle) -> str:
    """Save, load by plain transformers, and compare logits; returns what transformers says of the keys."""
    ids = torch.arange(5, 37).unsqueeze(0)
    with TemporaryDirectory() as folder:
        save(bundle, Path(folder))
        model, found = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
        with torch.no_grad():
            equal = torch.equal(model.eval()(ids).logits, bundle.model(ids).logits)
    keys = {name: len(values) for name, values in found.items() if name.endswith("_keys")}
    return f"{keys}, logits {'equal' if equal else 'DIFFER'}"


if __name__ == "__main__":
    main()
