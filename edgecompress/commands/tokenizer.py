"""`edgecompress verify-tokenizer`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from edgecompress.commands.numbers import Finite
from edgecompress.commands.show import progress, terminal
from edgecompress.corpus import HUB, Corpus, lines
from edgecompress.errors import CheckError
from edgecompress.extras import require
from edgecompress.files import write_json


def command(name: str) -> click.Command:
    """Return the command called ``name``."""
    return {"verify-tokenizer": verify_tokenizer}[name]


@click.command("verify-tokenizer")
@click.argument("old")
@click.argument("new")
@click.option("--text", "texts", multiple=True, required=True, metavar="FILE", help="Held-out text; repeat.")
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
@click.option("--max-changed", type=Finite(0, 1), help="Fail when a larger share of the texts changed.")
def verify_tokenizer(
    old: str, new: str, texts: tuple[str, ...], target: Path | None, max_changed: float | None
) -> None:
    """Compare the tokenizer NEW with OLD on text: model or tokenizer folders, tokenizer.json files, or e5-small.

    Tokens are the same when their strings and their places in the text are; ids may differ. With --max-changed the exit
    code is 1 when more texts than that share are cut differently.
    """
    require("transformers", extra="compress")
    from edgecompress.encoder.proof import mapping, verify
    from edgecompress.encoder.saved_tokenizer import read_backend
    from edgecompress.report.vocabulary import proof_tables

    files = tuple(Path(text) for text in texts if not text.startswith(HUB))
    corpus = Corpus("text", files, datasets=tuple(text for text in texts if text.startswith(HUB)))
    held_out = lines(corpus)
    console = terminal()
    with progress(console):
        before, after = read_backend(old), read_backend(new)
        proof = verify(before, after, mapping(before, after), held_out)
    for table in proof_tables(proof):
        console.print(table)
    if target:
        write_json(target, {"old": Path(old).name, "new": Path(new).name, **dataclasses.asdict(proof)})
    changed = 1 - proof.unchanged
    if max_changed is not None and changed > max_changed:
        raise CheckError(f"{changed:.2%} of the texts are cut differently, more than the {max_changed:.2%} allowed")
