"""A session runs where it was asked to, or says why not."""

import onnxruntime
import pytest
from tiny_artifact import write_artifact

from edgecompress.errors import InputError
from edgecompress.runtime.session import open_session


@pytest.mark.parametrize(
    ("built_with", "says"),
    [
        (["CPUExecutionProvider"], "has no CUDA provider"),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], "the CUDA provider of onnxruntime does not start"),
    ],
)
def test_the_cpu_is_never_taken_for_a_gpu(tmp_path, monkeypatch, built_with, says):
    """onnxruntime itself falls back in silence where a driver or a library is missing."""
    real, model = onnxruntime.InferenceSession, write_artifact(tmp_path / "art").model_path

    def on_the_cpu(path, options, providers):
        return real(path, options, providers=providers[-1:])

    monkeypatch.setattr(onnxruntime, "InferenceSession", on_the_cpu)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built_with)
    assert open_session(model).get_providers() == ["CPUExecutionProvider"]
    with pytest.raises(InputError, match=says):
        open_session(model, device="cuda")
