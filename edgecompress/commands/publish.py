"""`edgecompress card` and `push`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecompress.errors import OutputError

if TYPE_CHECKING:
    from edgecompress.artifact import Artifact
    from edgecompress.report.card import About

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--results", type=_FILE, help="What `bench` measured of this very artifact; figures come from there."),
    click.option("--language", "languages", multiple=True, metavar="CODE",
                 help="ISO 639-1 or 639-3 code, such as sk or slk; once for each language."),
    click.option("--license", "license_id", default="", metavar="ID",
                 help="The hub's id of the licence, such as apache-2.0. It is never guessed."),
    click.option("--base-model", default="", metavar="ID", help="The teacher's id on the hub."),
    click.option("--dataset", default="", metavar="NAME",
                 help="The data that the scores are of. [default: said to be the maker's own test split, not named]"),
)  # fmt: skip


def command(name: str) -> click.Command:
    """Return the command called ``name``."""
    return {"card": card, "push": push}[name]


def _card_options(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command()
@click.argument("artifact", type=_FOLDER)
@_card_options
@click.option("-o", "--output", type=_FILE, help="File to write, such as README.md. [default: the terminal]")
def card(artifact: Path, output: Path | None, **options: Any) -> None:
    """Write the Hugging Face model card of ARTIFACT: front matter, use, scores, size, history, limits.

    Only what is in the artifact, in --results and in the options is said; what is missing is called not stated. An
    existing file is replaced only when this command wrote it.
    """
    from edgecompress.artifact import open_artifact

    about = _about(options)
    text = _render(open_artifact(artifact), about, options["results"])
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
        click.echo(f"{output}: {len(text.splitlines())} lines")
    _hints(about, options["results"])


@click.command()
@click.argument("artifact", type=_FOLDER)
@click.argument("repo_id")
@_card_options
@click.option("--private/--public", default=True, show_default=True, help="Who sees a repository that is created.")
@click.option("--dry-run", is_flag=True, help="Show the files and the front matter; upload nothing, ask no network.")
def push(artifact: Path, repo_id: str, *, private: bool, dry_run: bool, **options: Any) -> None:
    """Upload ARTIFACT and its model card to REPO_ID (owner/name, or name for your own) on the Hugging Face hub.

    A new repository is private unless --public: what is public once may be copied for good. One that exists keeps its
    visibility, and its other files. The token is taken from HF_TOKEN or `hf auth login`, never from the command line.
    All files go in one commit: the manifest, what it names, and README.md; the folder itself is not changed.
    """
    from edgecompress import hub
    from edgecompress.artifact import open_artifact

    about, opened = _about(options, repo_id), open_artifact(artifact)
    text = _render(opened, about, options["results"])
    sizes = {name: path.stat().st_size for name, path in hub.files(opened).items()}
    if dry_run:
        _show({**sizes, hub.CARD: len(text.encode())}, text, f"{repo_id} ({'private' if private else 'public'} if new)")
    else:
        click.echo(hub.upload(opened, text, repo_id, private=private))
    _hints(about, options["results"])


def _about(options: dict[str, Any], repo: str = "") -> About:
    from edgecompress.report.card import About, check

    about = About(options["languages"], options["license_id"], options["base_model"], options["dataset"], repo)
    check(about)
    return about


def _render(artifact: Artifact, about: About, results: Path | None) -> str:
    from edgecompress.bench.results import read
    from edgecompress.report.card import render

    return render(artifact, about, read(results) if results else None)


def _show(sizes: dict[str, int], text: str, target: str) -> None:
    width = max(map(len, sizes))
    for name, size in sizes.items():
        click.echo(f"{name:{width}}  {size:>13,} bytes")
    click.echo(f"{'total':{width}}  {sum(sizes.values()):>13,} bytes\n")
    click.echo(text[: text.index("\n---\n", 1) + 5])  # the front matter
    click.echo(f"to {target}; nothing was uploaded (--dry-run)")


def _hints(about: About, results: Path | None) -> None:
    """Say on stderr what the card leaves open, and which option states it."""
    open_points = {
        "licence": (
            about.license,
            "--license apache-2.0, for example; a student's depends on its teacher and its data",
        ),
        "languages": (about.languages, "--language sk, for example"),
        "base model": (about.base_model, "--base-model OWNER/NAME"),
        "scores": (results, "--results FILE"),
        "test data": (about.dataset or not results, "--dataset NAME"),
    }
    for what, (given, option) in open_points.items():
        if not given:
            click.echo(f"not stated: {what} ({option})", err=True)


def _write(path: Path, text: str) -> None:
    """Write ``text`` in one step. Raises OutputError, also for a file that somebody else wrote."""
    from edgecompress.files import write_text
    from edgecompress.report.card import MADE_BY

    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder: choose another -o")
    if path.exists() and MADE_BY not in path.read_text(encoding="utf-8", errors="replace"):
        raise OutputError(f"{path} exists and is no card that this command wrote: choose another -o, or remove it")
    write_text(path, text)
