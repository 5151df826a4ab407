"""Opening an ONNX file with onnxruntime on the CPU."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgecompress.errors import ArtifactError, CheckError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import onnxruntime
    from numpy.typing import NDArray

_PROVIDERS = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}
_MOST_THREADS = 1024
_ERRORS_ONLY = 3  # onnxruntime's severities: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal


def core_numbers() -> list[int]:
    """Return the numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere a process may use every core
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(core_numbers())


def open_session(path: Path, *, threads: int = 0, device: str = "cpu") -> onnxruntime.InferenceSession:
    """Open ``path`` with every graph optimisation on ``threads`` cores (0: all that this process may use).

    With ``device`` "cuda" nodes run on the GPU where they can.
    Raises ArtifactError when onnxruntime cannot read or run the file, InputError where its CUDA provider is not there
    or does not start, or for more threads than any machine has cores, ValueError for a negative ``threads``.
    """
    if threads < 0:
        raise ValueError(f"threads is {threads}: give 0 for all cores, or a positive number")
    if threads > _MOST_THREADS:
        raise InputError(f"threads is {threads}: give at most {_MOST_THREADS}, or 0 for all {usable_cores()} cores")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _ERRORS_ONLY
    wanted = _PROVIDERS[device]
    if wanted[0] not in onnxruntime.get_available_providers():
        raise InputError("this onnxruntime has no CUDA provider: install onnxruntime-gpu in its place")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
    except runtime_errors() as error:
        why = " ".join(str(error).split()).removeprefix("[ONNXRuntimeError] : ")
        raise ArtifactError(
            f"{path} cannot be opened by onnxruntime ({why}): restore the file, or export again"
        ) from error
    if wanted[0] not in session.get_providers():  # it goes on without, and says so in its log alone
        raise InputError(
            "the CUDA provider of onnxruntime does not start: check driver, CUDA and cuDNN, or take the CPU"
        )
    return session


def open_run(
    path: Path, *, threads: int = 0, output: str = "logits"
) -> Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]:
    """Open ``path`` and return it as a function: ids and mask, (batch, length), to the logits of ``output``.

    Raises ArtifactError for a file that cannot be opened; the function raises CheckError where the graph fails.
    """
    session = open_session(path, threads=threads)
    wanted = [node.name for node in session.get_inputs()]

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        given = {"input_ids": ids, "attention_mask": mask}
        try:
            logits: NDArray[np.float32] = session.run([output], {name: given[name] for name in wanted})[0]
        except runtime_errors() as error:
            raise cannot_run(path, ids.shape, error) from error
        return logits

    return run


def cannot_run(path: Path, shape: tuple[int, ...], error: Exception) -> CheckError:
    """Turn onnxruntime's error about a batch of this shape into one line."""
    why = " ".join(str(error).split()).removeprefix("[ONNXRuntimeError] : ")
    return CheckError(f"{path.name} of {path.parent} cannot run {shape[0]}×{shape[1]} ids ({why}): export it again")


def runtime_errors() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises for a file that it cannot use; its classes have no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented")
    return tuple(getattr(state, name) for name in (*names, "NoModel", "RuntimeException"))
