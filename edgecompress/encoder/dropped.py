"""What a trimmed vocabulary lost: how many tokens, by script and by how often the text used them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompress.encoder import closure, scripts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from edgecompress.encoder.counting import Counts

_BANDS = ("never", "once", "2–9 times", "10–99 times", "100–999 times", "1000 times or more")
_STARTS = (1, 2, 10, 100, 1000)


@dataclass(frozen=True)
class Dropped:
    """Tokens dropped, by the script of their letters and by occurrences in the text, largest groups first.

    ``occurrences``: share of the text's tokens that were dropped ones.
    """

    tokens: int
    occurrences: float
    by_script: Mapping[str, int]
    by_frequency: Mapping[str, int]


def dropped(tokenizer: Tokenizer, counts: Sequence[Counts], kept: NDArray[np.int64]) -> Dropped:
    """Describe the tokens of ``tokenizer`` that are not among the ids ``kept``; ``counts`` is what the text used."""
    tokens = closure.layout(tokenizer)
    times: Any = sum(counted.tokens for counted in counts)
    staying = set(kept.tolist())
    gone = {name: at for name, at in tokens.ids.items() if at not in staying}
    ids = np.fromiter(gone.values(), np.int64, len(gone))
    spell = scripts.speller(tokens)
    by_script = Counter("+".join(sorted(scripts.scripts_of(spell(name)))) or scripts.OTHER for name in gone)
    bands = np.bincount(np.searchsorted(_STARTS, times[ids], side="right"), minlength=len(_BANDS))
    return Dropped(
        tokens=len(gone),
        occurrences=float(times[ids].sum() / max(int(times.sum()), 1)),
        by_script=dict(by_script.most_common()),
        by_frequency={band: int(count) for band, count in zip(_BANDS, bands, strict=True) if count},
    )
