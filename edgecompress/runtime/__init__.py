"""Serving an artifact with onnxruntime, tokenizers and numpy alone."""
