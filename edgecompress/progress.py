"""How long work tells what it is doing, without knowing who listens.

The library calls :func:`report`; the command line installs a listener that draws bars. Without a listener nothing
happens, so library users see no output that they did not ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One sign of life: ``done`` of ``total`` units of ``task`` (``total`` None: not known), and a short note."""

    task: str
    done: float
    total: float | None
    note: str = ""


Listener = Callable[[Event], None]
_listener: ContextVar[Listener | None] = ContextVar("edgecompress_listener", default=None)


def report(task: str, done: float, total: float | None = None, note: str = "") -> None:
    """Tell the listener, if there is one, that ``done`` of ``total`` units of ``task`` are finished."""
    listener = _listener.get()
    if listener is not None:
        listener(Event(task, done, total, note))


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send every event reported inside the block to ``listener``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
