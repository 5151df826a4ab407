"""What Prometheus is told. No label comes from a request, so that no caller can make the list grow."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The figures of one server, in a registry of its own: two servers in one process do not mix."""

    def __init__(self) -> None:
        held = self._registry = CollectorRegistry()
        self.requests = Counter("edgecompress_requests", "Answered requests.", ["path", "status"], registry=held)
        self.seconds = Histogram(
            "edgecompress_request_seconds", "Time of an answer.", ["path"], buckets=_SECONDS, registry=held
        )
        self.in_flight = Gauge("edgecompress_requests_in_flight", "Requests that are being answered.", registry=held)
        self.connections = Gauge("edgecompress_connections", "Open connections.", registry=held)
        self.ended = Counter(
            "edgecompress_connections_ended", "Connections that were ended.", ["reason"], registry=held
        )
        self.queue = Gauge("edgecompress_queue_texts", "Texts that wait for a run.", ["model"], registry=held)
        self.batch = Histogram(
            "edgecompress_batch_texts", "Texts of one run.", ["model"], buckets=_SIZES, registry=held
        )
        self.run = Histogram("edgecompress_run_seconds", "Time of one run.", ["model"], buckets=_SECONDS, registry=held)
        self.texts = Counter("edgecompress_texts", "Texts that were labelled.", ["model"], registry=held)
        self.reloads = Counter("edgecompress_reloads", "Artifacts loaded again.", ["model", "result"], registry=held)

    def exposition(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)
