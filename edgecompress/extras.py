"""Optional dependencies: say which extra is missing, before the work starts."""

from __future__ import annotations

from importlib.util import find_spec

from edgecompress.errors import MissingExtraError


def require(*modules: str, extra: str) -> None:
    """Raise MissingExtraError when one of ``modules`` is not installed; nothing is imported."""
    missing = [name for name in modules if not _is_there(name)]
    if missing:
        raise MissingExtraError(f"this needs {', '.join(missing)}: pip install 'edgecompress[{extra}]'")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent of a dotted name
        return False
