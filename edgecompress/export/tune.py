"""Ways to write the same graph, timed on this machine; the fastest is kept. No torch here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edgecompress.artifact import Artifact, open_artifact
from edgecompress.bench.host import host
from edgecompress.bench.latency import latencies, medians
from edgecompress.errors import CheckError, InputError
from edgecompress.export.quantize import Request, make
from edgecompress.export.schemes import FASTER, SCHEMES
from edgecompress.files import refuse_existing
from edgecompress.progress import report
from edgecompress.records import Step

_SECONDS = 1.0  # for each variant and shape
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "as exported": (),
    "rewritten": FASTER,
    "rewritten, Add kept": tuple(name for name in FASTER if name != "sums"),
    "rewritten, fused QKV": (*FASTER, "qkv"),
    "rewritten, tanh Gelu": (*FASTER, "fast-gelu"),
    "rewritten, fused QKV, tanh Gelu": (*FASTER, "qkv", "fast-gelu"),
}


@dataclass(frozen=True)
class Tuned:
    """Every variant's median milliseconds by (batch, length), and the one that was kept."""

    times: Mapping[str, Mapping[tuple[int, int], float]]
    chosen: str
    artifact: Artifact


def tune(
    artifact: Artifact,
    target: Path,
    *,
    scheme: str = "int8-tables4",
    texts: Sequence[str] = (),
    shapes: Sequence[tuple[int, int]] = ((1, 32), (1, 128)),
    threads: int = 1,
) -> Tuned:
    """Write ``artifact`` in ``scheme`` to ``target``, in the graph variant that is fastest on this machine.

    Fastest is the lowest geometric mean of the medians over ``shapes``, variants in turns. Every variant passes the
    checks of ``quantize`` first. Raises InputError for an unknown scheme or shapes that the artifact cannot take.
    """
    if scheme not in SCHEMES:
        raise InputError(f"scheme {scheme!r}: choose from {', '.join(SCHEMES)}")
    fitting = [shape for shape in shapes if shape[1] <= artifact.max_length]
    if not fitting:
        raise InputError(f"no shape is within the artifact's {artifact.max_length} tokens: give a shorter --length")
    refuse_existing(target)
    with TemporaryDirectory(prefix="edgecompress-") as folder:
        made: dict[str, Artifact] = {}
        refused: dict[str, str] = {}
        for done, (name, rewrites) in enumerate(VARIANTS.items()):
            report("variants", done, len(VARIANTS), name)
            row = dataclasses.replace(SCHEMES[scheme], rewrites=rewrites)
            try:
                made[name] = make(artifact, Path(folder) / str(done), Request(scheme, row, tuple(texts)))
            except CheckError as error:
                refused[name] = str(error)
        report("variants", len(VARIANTS), len(VARIANTS))
        if not made:
            raise CheckError(next(iter(refused.values())))
        times = medians(latencies(made, fitting, threads=threads, seconds=_SECONDS))
    chosen = min(times, key=lambda name: math.prod(times[name].values()))
    row = dataclasses.replace(SCHEMES[scheme], rewrites=VARIANTS[chosen])
    found = {name: {f"{b}×{n}": ms for (b, n), ms in of.items()} for name, of in times.items()}
    step = Step("tune", {"scheme": scheme, "variant": chosen, "threads": threads}, artifact.parameters,
                details={"milliseconds": found, "refused": refused, "cpu": host().cpu})  # fmt: skip
    make(artifact, target, Request(scheme, row, tuple(texts), last=step))
    return Tuned(times, chosen, open_artifact(target))
