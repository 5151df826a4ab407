"""From a torch model to a checked ONNX artifact, and from there to int8."""
