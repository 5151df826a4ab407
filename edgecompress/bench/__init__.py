"""Measuring accuracy, size and latency, student beside teacher."""
