"""Tokenizer figures as tables for a terminal: what trimming saved and dropped, and how two tokenizers compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgecompress.encoder.proof import Proof

_BYTES = 4  # of an fp32 parameter
_MOST_SCRIPTS = 8


def saved(details: Mapping[str, Any], parameters: tuple[int, int]) -> Iterator[Table]:
    """Yield the tables of a trim stage: what it saved, the proof, and the tokens dropped by script and by use.

    ``details`` is the stage's history entry, ``parameters`` the model's count before and after.
    """
    before, after = parameters
    table = _table("Vocabulary", ("before", "after", "saved"))
    table.add_row("tokens", *_saving(details["of"], details["kept"], "{:,.0f}"))
    table.add_row("parameters", *_saving(before, after, "{:,.0f}"))
    table.add_row("fp32 MB", *_saving(_BYTES * before / 1e6, _BYTES * after / 1e6, "{:,.1f}"))
    old, new = details["tokens_per_word"]
    table.add_row("tokens a word", f"{old:.3f}", f"{new:.3f}", "")
    table.caption = _proofs(details)
    yield table
    lost = details["dropped"]
    yield _groups(f"Dropped tokens by script ({lost['tokens']:,})", lost["by_script"])
    yield _groups(f"Dropped tokens by use ({lost['occurrences']:.3%} of the text)", lost["by_frequency"])


def _proofs(details: Mapping[str, Any]) -> str:
    """Say what the history holds of the proofs; one of an earlier version has none on held-out text."""
    said = f"{details['unchanged_texts']:.1%} of the first texts unchanged, {details['unknown_share']:.2%} UNK"
    if not (held := details.get("held_out")):
        return said
    old, new = held["tokens_per_word"]
    return (
        f"{said}\nOf {held['texts']:,} texts that a selection had not seen {held['unchanged_texts']:.1%} unchanged, "
        f"{held['unknown_share']:.2%} UNK, tokens a word {old:.3f} → {new:.3f}"
    )


def _saving(before: float, after: float, form: str) -> tuple[str, str, str]:
    share = 100 * (1 - after / before) if before else 0.0
    return form.format(before), form.format(after), f"{share:.1f} %"


def _groups(title: str, groups: Mapping[str, int]) -> Table:
    """Show the first groups, the others summed up."""
    table = _table(title, ("tokens",))
    listed = list(groups.items())
    for name, count in listed[:_MOST_SCRIPTS]:
        table.add_row(name.lower(), f"{count:,}")
    if rest := listed[_MOST_SCRIPTS:]:
        table.add_row(f"{len(rest)} others", f"{sum(count for _, count in rest):,}")
    return table


def proof_tables(proof: Proof) -> Iterator[Table]:
    """Yield how two tokenizers compare, and the worst texts side by side."""
    table = _table(f"{proof.texts:,} texts, {proof.unchanged:.2%} of them unchanged", ("old", "new"))
    table.add_row("UNK tokens", f"{proof.unknown_old:.3%}", f"{proof.unknown_new:.3%}")
    table.add_row("tokens a word", f"{proof.fertility_old:.3f}", f"{proof.fertility_new:.3f}")
    table.add_row("characters a token", f"{proof.characters_old:.2f}", f"{proof.characters_new:.2f}")
    table.add_row("characters covered", f"{proof.coverage_old:.3%}", f"{proof.coverage_new:.3%}")
    yield table
    if not proof.examples:
        return
    worst = Table(title="The texts that changed most", box=SIMPLE_HEAD, title_justify="left", show_lines=True)
    worst.add_column("old", ratio=1, overflow="fold")
    worst.add_column("new", ratio=1, overflow="fold")
    for example in proof.examples:
        worst.add_row(*(Text(" ".join(side)) for side in (example.old, example.new)))
    yield worst


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", caption_justify="left", min_width=len(title))
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    return table
