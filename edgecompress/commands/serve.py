"""`edgecompress serve`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecompress.commands.numbers import Finite
from edgecompress.extras import require

if TYPE_CHECKING:
    import socket

    from edgecompress.serve.settings import Settings

_COUNT = click.IntRange(1)
_SECONDS = Finite(0, min_open=True)
_LOOPBACK = ("127.", "::1", "localhost")


def command(name: str) -> click.Command:
    """Return the command called ``name``."""
    return {"serve": serve}[name]


@click.command()
@click.argument("artifacts", nargs=-1, required=True, metavar="[NAME=]ARTIFACT...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--threads", default=0, type=click.IntRange(0), show_default="all cores", help="Cores of one run.")
@click.option("--runs", default=1, show_default=True, type=_COUNT, help="Runs of one model at the same time.")
@click.option("--max-batch", default=0, type=click.IntRange(0), show_default="32, see above", help="Texts of one run.")
@click.option("--max-wait-ms", default=0.0, show_default=True, type=Finite(0), help="Wait for others to share a run.")
@click.option("--queue", default=1024, show_default=True, type=_COUNT, help="Texts that may wait for a run.")
@click.option("--max-requests", default=256, show_default=True, type=_COUNT, help="Predictions asked for at once.")
@click.option("--max-connections", default=900, show_default=True, type=_COUNT, help="Connections open at once.")
@click.option("--max-body", default=1_000_000, show_default=True, type=_COUNT, help="Bytes of a request.")
@click.option("--max-texts", default=256, show_default=True, type=_COUNT, help="Texts of a request.")
@click.option("--max-chars", default=10_000, show_default=True, type=_COUNT, help="Characters of a text.")
@click.option("--timeout", default=30.0, show_default=True, type=_SECONDS, help="Seconds a request may take.")
@click.option("--drain", default=30.0, show_default=True, type=Finite(0), help="Seconds to finish requests.")
@click.option(
    "--watch",
    default=2.0,
    show_default=True,
    type=Finite(0),
    help="Seconds between looks at the files; 0: never.",
)
@click.option("--token-file", type=click.Path(dir_okay=False, path_type=Path), help="File with the bearer token.")
@click.option("--log-text", is_flag=True, help="Write the texts into the log, too.")
def serve(artifacts: tuple[str, ...], host: str, port: int, token_file: Path | None, **options: Any) -> None:
    """Serve ARTIFACTS over HTTP: POST /v1/predict, and a page to try them at /.

    \b
    edgecompress serve out/student-topic out/student-ner
    curl localhost:8000/v1/predict -H 'Content-Type: application/json' \\
        -d '{"model": "student-topic", "text": "…"}'

    A model is called as its folder, or NAME. Requests that arrive while a run is on share the next one; --max-wait-ms
    holds a run back for more of them. The int8 and int4 schemes scale
    activations over a batch, so that a text's probabilities would move a little with its company: by default their
    graph takes the texts of a run one by one. --max-batch 8 sends up to 8 through together, --max-batch 1 shares
    nothing.

    A token in EDGECOMPRESS_TOKEN or --token-file is asked of every caller as a bearer token. SIGTERM finishes what was
    accepted; SIGHUP, or new files in a folder, load a model again. A connection on which nothing moves for --timeout
    seconds is ended. The log is JSON lines on standard error.
    """  # noqa: D301 - \b is click's sign for lines as they are
    require("starlette", "uvicorn", "httptools", "prometheus_client", extra="serve")
    from edgecompress.serve.logs import event, to_stderr
    from edgecompress.serve.memory import hold_less
    from edgecompress.serve.server import address_of, bind
    from edgecompress.serve.server import serve as run
    from edgecompress.serve.service import Service, load_models
    from edgecompress.serve.settings import Settings, name_folders, read_token

    settings = Settings(**options, token=read_token(token_file))
    folders = name_folders(artifacts)
    with bind(host, port) as bound:
        hold_less()
        service = Service(load_models(folders, settings), settings)
        to_stderr()

        def started() -> None:
            event("listening", address=address_of(bound), models=list(folders), batch=settings.collected)
            click.echo(f"{address_of(bound)} serves {', '.join(folders)}; Ctrl+C stops it")

        _warn_if_open(bound, settings)
        run(service, bound, started)
    event("stopped")


def _warn_if_open(bound: socket.socket, settings: Settings) -> None:
    from edgecompress.serve.logs import event
    from edgecompress.serve.settings import TOKEN_VARIABLE

    host = bound.getsockname()[0]
    if settings.token is None and not host.startswith(_LOOPBACK):
        why = f"anyone who reaches this address may use it: set {TOKEN_VARIABLE} or --token-file"
        event("no token", logging.WARNING, host=host, why=why)
