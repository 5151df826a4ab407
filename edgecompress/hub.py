"""An artifact on its way to a hub repository: which files, and the upload, which alone needs the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgecompress.artifact import MANIFEST
from edgecompress.errors import InputError
from edgecompress.extras import require

if TYPE_CHECKING:
    from pathlib import Path

    from edgecompress.artifact import Artifact

CARD = "README.md"
_LONGEST = 200  # characters of the hub's own words in the one line


def files(artifact: Artifact) -> Mapping[str, Path]:
    """Return what is uploaded beside the card: the manifest and the files that it names, and nothing else.

    Raises InputError when the card would replace a file that the manifest vouches for.
    """
    if CARD in artifact.checksums:
        raise InputError(
            f"{artifact.folder} counts {CARD} among its checked files, which the card would replace: export it again"
        )
    return {name: artifact.folder / name for name in (MANIFEST, *artifact.checksums)}


def upload(artifact: Artifact, card: str, repo: str, *, private: bool) -> str:
    """Create ``repo`` where it does not exist, put the artifact and its card there in one commit, return its address.

    The token is the one of the environment (HF_TOKEN) or of `hf auth login`. Raises InputError, one line, for whatever
    the hub or the connection refuses; a repository that was created stays, without half of the files.
    """
    require("huggingface_hub", extra="compress")
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    # The hub's transport (requests, httpx, …) differs by its version; its own error class derives from the transport's.
    # RuntimeError and ValueError: how it reports a large file that could not be sent; KeyError: no answer of a hub.
    failures: tuple[type[BaseException], ...] = (OSError, RuntimeError, ValueError, KeyError, *HfHubHTTPError.__bases__)
    adds = [CommitOperationAdd(name, str(path)) for name, path in files(artifact).items()]
    try:
        api = HfApi()
        made = api.create_repo(repo, private=private, exist_ok=True)
        api.create_commit(
            made.repo_id,
            [*adds, CommitOperationAdd(CARD, card.encode("utf-8"))],
            commit_message=f"edgecompress: {artifact.task.name}, {artifact.scheme}",
        )
    except failures as error:
        raise InputError(f"{repo} was not pushed: {_why(error)}") from error
    return str(made)


def _why(error: BaseException) -> str:
    """Return the reason in one line, with the next step."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    words = " ".join(str(getattr(error, "server_message", None) or error).split()) or type(error).__name__
    said = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
    if status in (401, 403):
        return (
            f"the hub refused it ({status}: {said}): set HF_TOKEN to a token that may write there, or `hf auth login`"
        )
    if status is not None:
        return f"the hub answered {status} ({said}): look at the repository, or run it again later"
    return f"the hub was not reached, or did not take the files ({said}): check the connection, and run it again"
