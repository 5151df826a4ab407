"""Optional dependencies: say which extra is missing, before the work starts."""

from __future__ import annotations

from importlib.util import find_spec

from edgecompress.errors import MissingExtraError


def install(extra: str) -> str:
    """Return the command that installs an extra; the package is in no registry."""
    return f"pip install '.[{extra}]' in a clone of edgecompress"


def require(*modules: str, extra: str) -> None:
    """Raise MissingExtraError when one of ``modules`` is not installed; nothing is imported."""
    missing = [name for name in modules if not is_there(name)]
    if missing:
        raise MissingExtraError(f"this needs {', '.join(missing)}: {install(extra)}")


def is_there(*modules: str) -> bool:
    """Whether all ``modules`` are installed; nothing is imported."""
    try:
        return all(find_spec(module) is not None for module in modules)
    except ModuleNotFoundError:  # a parent of a dotted name
        return False
