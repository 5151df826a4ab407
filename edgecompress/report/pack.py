"""The table of `pack`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgecompress.report.graph import new_table

if TYPE_CHECKING:
    from rich.table import Table

    from edgecompress.artifact import Artifact
    from edgecompress.export.pack import Packed

_MILLION = 1e6


def pack_table(made: Packed, alone: Mapping[str, Artifact]) -> Table:
    """Return a row a head, then the sum of the artifacts and the pack: size, products, what each reads."""
    products, differences = made.sharing.products, made.pack.history[-1].details["difference"]
    columns = ["", "task", "MB", "products", "shared", "reads", "difference", "equal %"]
    found = new_table("Pack", columns, _caption(made))
    for name, one in alone.items():
        own, shared = products[name]
        reads = "text" if made.pack.heads[name].word_pattern is None else "words"
        same = made.agreement[name]
        found.add_row(name, one.task.name, _megabytes(one.model_bytes), str(own), str(shared), reads,
                      f"{differences[name]:.1e}", "" if same is None else f"{100 * same:.1f}")  # fmt: skip
    found.add_section()
    before = sum(one.model_bytes for one in alone.values())
    found.add_row("apart", "", _megabytes(before), str(sum(own for own, _ in products.values())))
    found.add_row("pack", "", _megabytes(made.pack.model_bytes), str(made.sharing.all_products))
    return found


def _caption(made: Packed) -> str:
    nodes = made.sharing.nodes
    said = f"products: matrix products. {nodes[0]:,} nodes became {nodes[1]:,}. difference: of the largest logit."
    if made.passes > 1:
        return f"{said} Text and words that give other ids pass one after the other (--one-pass: once)."
    return f"{said} Every text passes once."


def _megabytes(size: int) -> str:
    return f"{size / _MILLION:.2f}"
