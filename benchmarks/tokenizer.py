"""Trimming real tokenizers at full scale: what stays the same, how fast counting and cutting are, how much memory.

    EDGECOMPRESS_DATA=../shared/data python benchmarks/tokenizer.py quality
    EDGECOMPRESS_DATA=../shared/data python benchmarks/tokenizer.py speed
    EDGECOMPRESS_DATA=../shared/data python benchmarks/tokenizer.py cut
    EDGECOMPRESS_DATA=../shared/data python benchmarks/tokenizer.py memory
    python benchmarks/tokenizer.py summary

"The paper's way" is a Python loop over ``tokenize`` for counting, and ``list(vocab).index(token)`` for every token that
is kept; both ways work on the same text in one process. Results are in benchmarks/results/tokenizer.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from edgecompress.bench.host import host
from edgecompress.corpus import Corpus, lines
from edgecompress.encoder import letters, vocabulary
from edgecompress.encoder.counting import Counts, count
from edgecompress.encoder.dropped import dropped
from edgecompress.encoder.proof import verify
from edgecompress.encoder.tokenizer import cut
from edgecompress.files import write_json

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("EDGECOMPRESS_DATA", ROOT.parent / "shared" / "data"))
RESULTS = ROOT / "benchmarks" / "results" / "tokenizer"
LANGUAGES = {"mlt_Latn": "mt", "slk_Latn": "sk", "swh_Latn": "sw"}
SIZES = (8_000, 12_000, 16_000, 20_000, 32_000, 40_000)
LARGER = (60_000, 80_000, 100_000)
COUNTED = {"xlmr": tuple(LANGUAGES), "mbert": ("slk_Latn", "swh_Latn")}
WANTED, KEPT, HIDDEN = 0.995, 40_000, 768  # unchanged texts; the paper's vocabulary; the teachers' hidden size
MEGABYTES = (20, 100, 300, 1000)


def xlmr() -> PreTrainedTokenizerFast:
    """XLM-R's Unigram tokenizer, 250,002 pieces."""
    return PreTrainedTokenizerFast(tokenizer_file=str(DATA.parent / "tokenizers" / "xlm-r" / "tokenizer.json"))


def mbert() -> PreTrainedTokenizerFast:
    """Multilingual BERT's cased WordPiece tokenizer, 119,547 pieces."""
    return BertTokenizerFast(str(DATA.parent / "tokenizers" / "mbert" / "vocab.txt"), do_lower_case=False)


TOKENIZERS = {"xlmr": xlmr, "mbert": mbert}


def corpus(language: str) -> Corpus:
    """All plain text of a language."""
    return Corpus(language, tuple(sorted((DATA / "text" / language).glob("*.txt.gz"))))


@click.group()
def main() -> None:
    """Measure, and write benchmarks/results/tokenizer/*.json."""


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(list(TOKENIZERS)))
@click.option("--language", "languages", multiple=True, type=click.Choice(list(LANGUAGES)))
def quality(names: tuple[str, ...], languages: tuple[str, ...]) -> None:
    """Unchanged texts, UNK and fertility on FLORES devtest for each kept size, and the size that changes few."""
    for name in names or TOKENIZERS:
        tokenizer = TOKENIZERS[name]().backend_tokenizer
        for language in languages or LANGUAGES:
            counts = count(tokenizer, lines(corpus(language)), documents=False)
            rows = [{"tokenizer": name, **row} for row in _table(tokenizer, counts, language)]
            default = {"tokenizer": name, **_default(tokenizer, counts, language)}
            click.echo(f"{name} {language}: {default['kept']} tokens, {default['unchanged']:.2%}")
            found = {"rows": rows, "default": default, "host": asdict(host())}
            write_json(RESULTS / f"quality-{name}-{language}.json", found)


def _table(tokenizer: Tokenizer, counts: Counts, language: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each size; unseen tokens fill up, by script, and for comparison by rank or not at all."""
    full = tokenizer.get_vocab_size()
    for size in [size for size in (*SIZES, *LARGER) if size <= full]:
        yield _row(tokenizer, counts, language, size, "script")
        if size > np.count_nonzero(counts.tokens):
            yield _row(tokenizer, counts, language, size, "rank")
    yield _row(tokenizer, counts, language, full, "none")
    yield _row(tokenizer, counts, language, full, "script")


def _select(tokenizer: Tokenizer, counts: Counts, language: str, size: int, fill: Any) -> NDArray[np.int64]:
    kept = letters.characters(tokenizer, [LANGUAGES[language]])
    return vocabulary.select(tokenizer, [(counts, 1.0)], vocabulary.Rule(size=size, fill=fill, characters=kept))


def _row(tokenizer: Tokenizer, counts: Counts, language: str, size: int, fill: str) -> dict[str, Any]:
    kept = _select(tokenizer, counts, language, size, fill)
    trimmed, order = cut(tokenizer, kept)
    proof = asdict(verify(tokenizer, trimmed, order, _texts(language, "devtest")))
    examples = [example["text"] for example in proof.pop("examples")]
    return {
        "language": language, "fill": fill, "size": size, "kept": len(order),
        **{name: round(value, 6) for name, value in proof.items()}, "worst": examples[:3],
    }  # fmt: skip


def _texts(language: str, split: str) -> list[str]:
    return (DATA / "flores" / language / f"{split}.txt").read_text(encoding="utf-8").splitlines()


def _default(tokenizer: Tokenizer, counts: Counts, language: str) -> dict[str, Any]:
    """Return the smallest size (in thousands, filled up by script) that leaves 99.5 % of FLORES *dev* unchanged.

    It is chosen on dev and proved on devtest. Below it, why not: how many of devtest's tokens the text never uses.
    """
    needed = [set(encoding.ids) for encoding in tokenizer.encode_batch(_texts(language, "dev"))]
    low, high = 8, tokenizer.get_vocab_size() // 1000
    while low < high:
        middle = (low + high) // 2
        kept = set(_select(tokenizer, counts, language, 1000 * middle, "script").tolist())
        share = np.mean([tokens <= kept for tokens in needed])
        low, high = (low, middle) if share >= WANTED else (middle + 1, high)
    row = _row(tokenizer, counts, language, 1000 * low, "script")
    used = set().union(*(encoding.ids for encoding in tokenizer.encode_batch(_texts(language, "devtest"))))
    order = _select(tokenizer, counts, language, 1000 * low, "script")
    return {
        **row,
        "tokens_read": counts.total,
        "distinct_tokens_in_text": int(np.count_nonzero(counts.tokens)),
        "distinct_tokens_in_devtest": len(used),
        "of_them_never_in_text": int(sum(counts.tokens[at] == 0 for at in used)),
        "dropped": asdict(dropped(tokenizer, [counts], order)),
    }


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(list(COUNTED)))
def speed(names: tuple[str, ...]) -> None:
    """Count, beside the paper's way on the same text."""
    for name in names or COUNTED:
        rows = [_counting(name, language) for language in COUNTED[name]]
        write_json(RESULTS / f"speed-{name}.json", {"rows": rows, "host": asdict(host())})


def _counting(name: str, language: str) -> dict[str, Any]:
    """Count a language's text twice by words, and once in the paper's loop between the two."""
    tokenizer = TOKENIZERS[name]()
    text = list(lines(corpus(language)))
    seconds = [_by_word(tokenizer, text)[0]]
    loop, tokens = _loop(tokenizer, text)
    second, found = _by_word(tokenizer, text)
    seconds.append(second)
    _agree(tokenizer, found, tokens)
    ours = sum(seconds) / len(seconds)
    row = {
        "tokenizer": name, "language": language, "lines": len(text), "tokens": found.total,
        "seconds": [round(value, 2) for value in seconds], "loop_seconds": round(loop, 2),
        "tokens_per_second": round(found.total / ours), "ratio": round(loop / ours, 1),
    }  # fmt: skip
    click.echo(row)
    return row


def _by_word(tokenizer: PreTrainedTokenizerFast, text: list[str]) -> tuple[float, Counts]:
    """Count by distinct word; return the seconds it took and the counts."""
    began = time.perf_counter()
    found = count(tokenizer.backend_tokenizer, text, documents=False)
    return time.perf_counter() - began, found


def _agree(tokenizer: PreTrainedTokenizerFast, found: Counts, loop: dict[str, int]) -> None:
    """Stop when the loop counted something else. It names unknown tokens by their text: they are looked up."""
    known = tokenizer.get_vocab()
    unknown = next(known[name] for name in ("<unk>", "[UNK]") if name in known)
    expected = np.zeros(len(known), np.int64)
    for token, times in loop.items():
        expected[known.get(token, unknown)] += times
    if not np.array_equal(expected, found.tokens):
        raise SystemExit("the two ways count differently")


def _loop(tokenizer: PreTrainedTokenizerFast, text: list[str]) -> tuple[float, dict[str, int]]:
    """Count in the paper's way; return the seconds it took and the counts."""
    began = time.perf_counter()
    counts: dict[str, int] = {}
    for line in text:
        for token in tokenizer.tokenize(line):
            counts[token] = counts.get(token, 0) + 1
    return time.perf_counter() - began, counts


@main.command(name="cut")
@click.option("--every", default=1, show_default=True, help="The loop does every n-th token, and its time is scaled.")
def cutting(every: int) -> None:
    """Cut XLM-R's tokenizer and an embedding matrix of its size to 40,000 tokens, then in the paper's way."""
    tokenizer = xlmr().backend_tokenizer
    weights = torch.randn(tokenizer.get_vocab_size(), HIDDEN, generator=torch.Generator().manual_seed(0))
    files = (DATA / "text" / "slk_Latn" / "ud-snk-train.txt.gz",)
    counts = count(tokenizer, lines(Corpus("slk_Latn", files)), documents=False)
    kept = _select(tokenizer, counts, "slk_Latn", KEPT, "script")
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        _, order = cut(tokenizer, kept)
        rows = weights.index_select(0, torch.from_numpy(order))
        seconds.append(time.perf_counter() - began)
    listed = dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
    tokens = [tokenizer.id_to_token(int(at)) for at in order[::every]]
    began = time.perf_counter()
    by_index = torch.stack([weights[list(listed).index(token)] for token in tokens])
    loop = (time.perf_counter() - began) * len(order) / len(tokens)
    if not torch.equal(rows[::every], by_index):
        raise SystemExit("the two ways cut differently")
    row = {
        "tokens": len(order), "seconds": [round(value, 3) for value in seconds], "loop_seconds": round(loop, 2),
        "loop_tokens": len(tokens), "ratio": round(loop * len(seconds) / sum(seconds), 1),
        "note": "ours cuts the tokenizer too, the loop gathers rows alone; its time is scaled from loop_tokens",
    }  # fmt: skip
    click.echo(row)
    write_json(RESULTS / "cut.json", {**row, "host": asdict(host())})


@main.command()
@click.argument("sizes", nargs=-1, type=int)
def memory(sizes: tuple[int, ...]) -> None:
    """Peak resident memory of counting repeated text of SIZES MB (20 to 1000), each in a process of its own."""
    rows = []
    for megabytes in sizes or MEGABYTES:
        words = [sys.executable, __file__, "peak", str(megabytes)]
        rows.append(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))
        click.echo(rows[-1])
    write_json(RESULTS / "memory.json", {"rows": rows, "host": asdict(host())})


@main.command()
@click.argument("megabytes", type=int)
def peak(megabytes: int) -> None:
    """Count MEGABYTES of Slovak and Swahili text, repeated, and tell the highest resident memory."""
    tokenizer = xlmr().backend_tokenizer
    began = time.perf_counter()
    found = count(tokenizer, _repeated(megabytes * 1_000_000), documents=False)
    row = {"megabytes": megabytes, "tokens": found.total, "seconds": round(time.perf_counter() - began, 1)}
    click.echo(json.dumps({**row, "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)}))


def _repeated(size: int) -> Iterator[str]:
    """Yield lines, from files again and again, until ``size`` bytes are reached."""
    done = 0
    for language in cycle(("slk_Latn", "swh_Latn")):
        for line in lines(corpus(language)):
            done += len(line.encode()) + 1
            yield line
            if done >= size:
                return


@main.command()
def summary() -> None:
    """Put the figures that are quoted elsewhere into summary.json."""
    counting = _read("speed-xlmr")["rows"]
    ours = sum(sum(row["seconds"]) / len(row["seconds"]) for row in counting)
    unchanged: dict[str, dict[str, float]] = {}
    for path in sorted(RESULTS.glob("quality-xlmr-*.json")):
        for row in _read(path.stem)["rows"]:
            if row["fill"] == "script":
                unchanged.setdefault(row["language"], {})[str(row["kept"])] = round(row["unchanged"], 4)
    sizes = _read("memory")["rows"]
    write_json(
        RESULTS / "summary.json",
        {
            "counting_ratio": round(sum(row["loop_seconds"] for row in counting) / ours, 1),
            "cut_ratio": _read("cut")["ratio"],
            "tokens_per_second": round(sum(row["tokens"] for row in counting) / ours),
            "rss_growth_mb": sizes[-1]["peak_mb"] - sizes[0]["peak_mb"],
            "unchanged": unchanged,
        },
    )


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    main()
