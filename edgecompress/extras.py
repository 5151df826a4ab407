"""Optional dependencies: say which extra is missing, before the work starts."""

from __future__ import annotations

from importlib.util import find_spec

from edgecompress.errors import MissingExtraError


def require(*modules: str, extra: str) -> None:
    """Raise MissingExtraError when one of ``modules`` is not installed; nothing is imported."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"this needs {', '.join(missing)}: pip install 'edgecompress[{extra}]'")
