"""One JSON object a line on standard error. User text is in none of them unless the caller passes it on purpose."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from functools import lru_cache
from typing import Any, TextIO

NAME = "edgecompress.serve"
_log = logging.getLogger(NAME)


def event(name: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log ``name`` with ``fields``, values that JSON can hold."""
    if _log.isEnabledFor(level):  # as Logger.log does, but for a walk up the stack to a line number that is not shown
        _log.handle(_log.makeRecord(NAME, level, "", 0, name, (), None, extra={"fields": fields}))


def to_stderr(stream: TextIO | None = None, level: int = logging.INFO) -> logging.Handler:
    """Send this package's and uvicorn's records to ``stream`` (standard error) as JSON lines; return the handler."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(_as_json)
    handler.setFormatter(logging.Formatter("%(json)s"))
    for name, least in ((NAME, level), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(least)
        logger.addHandler(handler)
        logger.propagate = False
    return handler


def _as_json(record: logging.LogRecord) -> bool:
    """Put the record's JSON beside it; a traceback moves into it, as a line must hold all of a record."""
    line: dict[str, Any] = {
        "time": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        **getattr(record, "fields", {}),
    }
    if record.exc_info:
        line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        record.exc_info = record.exc_text = None
    record.json = _to_json(line)
    return True


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


_to_json = json.JSONEncoder(default=str).encode  # json.dumps makes such an object for each line
