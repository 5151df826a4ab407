"""What a server may be told, and the token that guards it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgecompress.errors import InputError
from edgecompress.files import NAME, named_path
from edgecompress.runtime.running import BATCH

TOKEN_VARIABLE = "EDGECOMPRESS_TOKEN"  # noqa: S105 - the variable's name
_TOKEN = re.compile(r"[!-~]+")  # what an HTTP header carries unchanged


@dataclass(frozen=True)
class Settings:
    """Limits of one server. Sizes are in texts, characters or bytes as named; times are in seconds but ``max_wait_ms``.

    ``threads`` are onnxruntime's a run, 0 for every core; ``runs`` is how many runs of one model may overlap;
    ``max_batch`` is how many texts are collected for a run and pass the graph together, 0 for 32 of which those schemes
    that scale activations over a batch take one at a time, so that company changes no answer;
    ``queue`` counts texts that wait; ``max_connections`` is below the usual limit of 1,024 open files; ``timeout`` is
    that of a body, of an answer, and of a connection on which nothing moves; ``watch`` is the time between two looks at
    the folders, 0 for never.
    """

    threads: int = 0
    runs: int = 1
    max_batch: int = 0
    max_wait_ms: float = 0.0
    queue: int = 1024
    max_requests: int = 256
    max_connections: int = 900
    max_body: int = 1_000_000
    max_texts: int = 256
    max_chars: int = 10_000
    timeout: float = 30.0
    drain: float = 30.0
    watch: float = 2.0
    log_text: bool = False
    token: str | None = field(default=None, repr=False)

    @property
    def collected(self) -> int:
        """How many texts are collected for a run."""
        return self.max_batch or BATCH

    def __post_init__(self) -> None:
        if self.queue < self.max_texts:
            raise InputError(
                f"--queue {self.queue} is below --max-texts {self.max_texts}: a full request would never be accepted, "
                f"raise --queue or lower --max-texts"
            )


def read_token(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the bearer token from ``file``, else from EDGECOMPRESS_TOKEN, else None for a server without one.

    A command line is read by every user of a machine, so it is no place for a token. Raises InputError for a file that
    cannot be read and for a token that is empty or that a header cannot carry.
    """
    if file is None:
        return _checked(environment[TOKEN_VARIABLE], TOKEN_VARIABLE) if TOKEN_VARIABLE in environment else None
    try:
        return _checked(file.read_text(encoding="utf-8"), str(file))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} is not UTF-8 text: write the token into it, printable ASCII without spaces"
        ) from error
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): give a file with the token in it") from error


def _checked(text: str, source: str) -> str:
    token = text.strip()
    if not token:
        raise InputError(f"{source} holds an empty token: put one in it, or leave it out to serve without a token")
    if not _TOKEN.fullmatch(token):
        raise InputError(f"{source} holds a token that a header cannot carry: use printable ASCII without spaces")
    return token


def name_folders(given: tuple[str, ...]) -> dict[str, Path]:
    """Return name → folder for PATH and NAME=PATH arguments; a plain path is named after its folder.

    Raises InputError for two artifacts of one name, and for names that an address cannot hold.
    """
    named: dict[str, Path] = {}
    for text in given:
        name, path = named_path(text)
        name = Path(path).resolve().name if name is None else name
        if not NAME.fullmatch(name):
            raise InputError(
                f"{name!r} cannot name a model: use letters, digits, '.', '_' and '-', as in NAME={path or 'PATH'}"
            )
        if name in named:
            raise InputError(f"two artifacts are called {name!r}: tell them apart with NAME={path}")
        named[name] = Path(path)
    return named
