"""Every scheme tried on one artifact, and the smallest or fastest kept that scores as it should. No torch here."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecompress.artifact import Artifact, open_artifact, seal
from edgecompress.bench.host import host
from edgecompress.bench.latency import latencies, medians
from edgecompress.bench.quality import predict
from edgecompress.errors import ArtifactError, CheckError, InputError
from edgecompress.export.quantize import quantize
from edgecompress.export.schemes import SCHEMES
from edgecompress.files import new_folder, refuse_existing, scratch_folder
from edgecompress.progress import report
from edgecompress.records import Step
from edgecompress.runtime.predictor import from_artifact
from edgecompress.tasks.examples import Example
from edgecompress.tasks.scores import score

PREFER = ("small", "fast")
PLAIN = "fp32"
SHAPES = ((1, 32), (1, 128))
_SECONDS = 0.6  # for each rung and shape
_ANY = 0.0  # a rung is shown however many decisions it changes: its score decides


@dataclass(frozen=True)
class Rung:
    """One scheme: bytes of its graph, logits' ``difference`` (of the largest) and ``error`` (of their spread), share of
    equal decisions, ``score`` (0-100), and median milliseconds at 1×32 and 1×128 on one thread. ``refused`` says why it
    could not be made or measured; then the figures are 0.
    """

    scheme: str
    bytes: int = 0
    difference: float = 0.0
    error: float = 0.0
    agreement: float = 0.0
    score: float = 0.0
    latency: tuple[float, ...] = ()
    refused: str = ""


@dataclass(frozen=True)
class Ladder:
    """All rungs in the order in which they were tried, fp32 first, the one that was chosen, and what ``score`` is."""

    rungs: tuple[Rung, ...]
    chosen: str
    metric: str
    max_drop: float
    artifact: Artifact


@dataclass(frozen=True)
class Judge:
    """What rungs are judged by: labelled ``examples``, or without any the decisions on ``texts``."""

    examples: tuple[Example, ...] = ()
    texts: tuple[str, ...] = ()

    def metric(self, artifact: Artifact) -> str:
        """Return what the score is called."""
        return artifact.task.metrics[0] if self.examples else "agreement"

    def score(self, artifact: Artifact, same: float) -> float:
        """Return 0-100: the task's headline metric, one example at a time as when it is served, or the agreement."""
        if not self.examples:
            return 100 * same
        said, _ = predict(from_artifact(artifact, batch_size=1), self.examples)
        gold = [example.labels for example in self.examples]
        return score(artifact.task, gold, said)[artifact.task.metrics[0]]


def climb(
    artifact: Artifact,
    target: Path,
    judge: Judge,
    *,
    max_drop: float = 0.5,
    prefer: str = "small",
    schemes: Sequence[str] = tuple(SCHEMES),
) -> Ladder:
    """Try ``schemes`` on the fp32 ``artifact`` and write the best to ``target``; fp32 itself when none is good enough.

    Best is the smallest file, or with ``prefer="fast"`` the lowest median time, among those that score at most
    ``max_drop`` points below fp32. Raises InputError without examples or texts, for an unknown preference or scheme, or
    an artifact that is quantized already.
    """
    _check_request(artifact, judge, prefer, schemes)
    refuse_existing(target)
    with new_folder(target) as draft, scratch_folder(target) as folder:
        made: dict[str, Artifact] = {PLAIN: artifact}
        rungs = [Rung(PLAIN, artifact.model_bytes, agreement=1.0, score=judge.score(artifact, 1.0))]
        for done, scheme in enumerate(schemes):
            report("ladder", done, len(schemes), scheme)
            rung, small = _rung(artifact, folder / scheme, scheme, judge)
            rungs.append(rung)
            made |= {scheme: small} if small else {}
        report("ladder", len(schemes), len(schemes), "timing")
        rungs = _timed(rungs, made)
        chosen = _best(rungs, max_drop, prefer)
        _write(made[chosen], draft, rungs, {"max_drop": max_drop, "prefer": prefer, "score": judge.metric(artifact)})
    return Ladder(tuple(rungs), chosen, judge.metric(artifact), max_drop, open_artifact(target))


def _check_request(artifact: Artifact, judge: Judge, prefer: str, schemes: Sequence[str]) -> None:
    if not judge.examples and not judge.texts:
        raise InputError("a ladder needs something to judge by: give --validation FILE (labelled), or --text FILE")
    if prefer not in PREFER:
        raise InputError(f"prefer {prefer!r}: choose from {', '.join(PREFER)}")
    if unknown := [scheme for scheme in schemes if scheme not in SCHEMES]:
        raise InputError(f"scheme {unknown[0]!r}: choose from {', '.join(SCHEMES)}")
    if artifact.scheme != PLAIN:
        raise ArtifactError(f"{artifact.folder} is already {artifact.scheme}: climb from the fp32 artifact")


def _rung(artifact: Artifact, folder: Path, scheme: str, judge: Judge) -> tuple[Rung, Artifact | None]:
    texts = judge.texts or tuple(" ".join(example.words) for example in judge.examples[:200])
    try:
        small = quantize(artifact, folder, scheme=scheme, texts=texts, min_agreement=_ANY)
    except (CheckError, ArtifactError) as error:  # a full disk or a missing package is no property of the scheme
        return Rung(scheme, refused=str(error)), None
    found = small.history[-1].details
    same = found["agreement"]
    size = small.model_bytes
    return Rung(scheme, size, found["difference"], found["error"], same, judge.score(small, same)), small


def _timed(rungs: Sequence[Rung], made: dict[str, Artifact]) -> list[Rung]:
    """Add median times, all rungs in turns."""
    shapes = [shape for shape in SHAPES if shape[1] <= made[PLAIN].max_length] or [(1, made[PLAIN].max_length)]
    found = latencies(made, shapes, seconds=_SECONDS)
    times = medians(found)
    return [dataclasses.replace(rung, latency=tuple(times.get(rung.scheme, {}).values())) for rung in rungs]


def _best(rungs: Sequence[Rung], max_drop: float, prefer: str) -> str:
    least = rungs[0].score - max_drop
    good = [rung for rung in rungs if not rung.refused and rung.score >= least]
    if prefer == "fast":
        return min(good, key=lambda rung: (rung.latency[-1], rung.bytes)).scheme
    return min(good, key=lambda rung: (rung.bytes, rung.latency[-1])).scheme


def _write(chosen: Artifact, folder: Path, rungs: Sequence[Rung], why: dict[str, object]) -> None:
    """Copy the chosen artifact and note in its history what it was chosen from, and on which machine."""
    for name in chosen.checksums:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(chosen.folder / name, folder / name)
    details = {"rungs": [dataclasses.asdict(rung) for rung in rungs], "cpu": host().cpu}
    step = Step("ladder", why, chosen.parameters, details=details)
    seal(dataclasses.replace(chosen, folder=folder, history=(*chosen.history, step)))
