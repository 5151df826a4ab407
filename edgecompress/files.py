"""Files as users expect them: written whole or not at all, and named in every error."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from edgecompress.errors import OutputError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # what may name a model or a head: it stands in addresses and answers
DAMAGED_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)  # what reading a file that is not whole may raise
_STREAMS = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))
_DRAFT = re.compile(r"\..+\.\w{8}\.(part|old)")
_WHY = {
    errno.ENOSPC: "the disk is full: free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space and run the same command again",
    errno.EROFS: "the file system is read-only: choose another place with -o",
    errno.EACCES: "permission denied: choose a folder you may write to with -o",
    errno.EPERM: "permission denied: choose a folder you may write to with -o",
    errno.EEXIST: "a part of this path is a file, not a folder: choose another place with -o",
    errno.ENOTDIR: "a part of this path is a file, not a folder: choose another place with -o",
}


def output_error(path: Path, error: OSError) -> OutputError:
    """Turn an operating-system error about ``path`` into one clear line."""
    why = _WHY.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"cannot write {path}: {why}")


def need_space(folder: Path, size: int) -> None:
    """Raise OutputError unless ``folder`` has room for about ``size`` bytes.

    Asked before large files are written: the libraries that write them report a full disk each in its own way.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OutputError(
            f"no room in {folder.parent}: about {size / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free: free "
            f"some space and run the same command again"
        )


def refuse_existing(target: Path, option: str = "-o") -> None:
    """Raise OutputError when ``target`` exists and holds something, drafts aside: asked before long work, too."""
    if target.exists() and (not target.is_dir() or not all(_DRAFT.fullmatch(one.name) for one in target.iterdir())):
        raise OutputError(f"{target.absolute()} exists and is not empty: choose another {option}, or remove it first")


def drafts_in(folder: Path) -> list[Path]:
    """Return the folders that :func:`new_folder` left half-written in ``folder`` when it was killed."""
    return [path for path in folder.glob(".*") if _DRAFT.fullmatch(path.name) and path.is_dir()]


def sweep(folder: Path) -> None:
    """Remove what :func:`new_folder` left in ``folder`` when it was killed; what it had moved aside for nothing goes
    back.
    """
    for path in drafts_in(folder):
        whole = path.with_name(path.name[1:].rsplit(".", 2)[0])
        if path.suffix == ".old" and not whole.exists():
            path.rename(whole)
        else:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def new_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder that becomes ``target`` when the block ends without an error.

    It lies beside ``target``; inside, where that is a mounted disk or the current folder, which cannot be swapped for
    another one. After an error, or ``kill -9``, ``target`` holds what it held (killed: and the hidden draft). A
    symbolic link is followed. Raises OutputError when ``target`` exists and holds something (unless ``replace``), or
    when the place cannot be written.
    """
    target = target.resolve()
    if not replace:
        refuse_existing(target)
    if replace and target.is_mount():
        raise OutputError(f"{target} is a mounted disk, which cannot be replaced: choose a folder in it with -o")
    inside = not replace and target.is_dir() and (target.is_mount() or target.samefile(os.curdir))
    draft = _draft_of(target / target.name if inside else target)
    try:
        draft.mkdir(parents=True)
        yield draft
        _move_up(draft) if inside else _swap(draft, target)
    except OSError as error:
        if error.filename and not str(error.filename).startswith((str(draft), str(target))):
            raise  # about a file that was read, not about this place
        raise output_error(target, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder on the disk of ``target``, beside it, that is gone when the block ends."""
    folder = _draft_of(target.absolute())
    try:
        folder.mkdir(parents=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _draft_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")


def _move_up(draft: Path) -> None:
    """Move what ``draft`` holds to the folder around it, and sweep away what killed commands left there."""
    refuse_existing(draft.parent)
    for part in sorted(draft.iterdir()):
        part.rename(draft.parent / part.name)
    sweep(draft.parent)


def _swap(draft: Path, target: Path) -> None:
    """Move ``draft`` to ``target``; what stood there is moved aside first, so that no moment shows half of each."""
    if not target.exists():
        draft.rename(target)
        return
    aside = draft.with_suffix(".old")
    target.rename(aside)
    try:
        draft.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write ``data`` as indented UTF-8 JSON; see :func:`write_text`."""
    write_text(path, json.dumps(data, ensure_ascii=False, indent=1, sort_keys=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, line ends as they are, in one step (temporary file, then rename). Raises OutputError.

    A symbolic link is followed; what is no file (a pipe, a device) is written to as it is.
    """
    try:
        if _is_stream(path):
            path.write_text(text, encoding="utf-8", newline="")
            return
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        with _draft_file(path) as draft:
            draft.write_text(text, encoding="utf-8", newline="")
            draft.replace(path)
    except OSError as error:
        raise output_error(path, error) from error


@contextmanager
def _draft_file(path: Path) -> Iterator[Path]:
    draft = _draft_of(path)
    try:
        yield draft
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Whether it is written to and not replaced: a pipe, a device, /dev/stdout even where the shell made it a file."""
    return path.exists() and (not path.is_file() or path.parent in _STREAMS)


def named_path(given: str) -> tuple[str | None, str]:
    """Split "NAME=PATH"; the name is None for a path alone, which may hold a "=" where it exists."""
    name, equals, path = given.partition("=")
    return (name, path) if equals and not Path(given).exists() else (None, given)


def check_writable(path: Path) -> None:
    """Raise OutputError when a file cannot be written at ``path``: asked before long work."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder: give a file's name")
    if _is_stream(path):
        return
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _draft_file(path) as draft:
            draft.touch()
    except OSError as error:
        raise output_error(path, error) from error


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
