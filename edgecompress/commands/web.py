"""`edgecompress export-web`."""

from __future__ import annotations

from pathlib import Path

import click

from edgecompress.commands.show import megabytes, progress, terminal

_FOLDER = click.Path(file_okay=False, path_type=Path)


def command(name: str) -> click.Command:
    """Return the command called ``name``."""
    return {"export-web": export_web}[name]


@click.command("export-web")
@click.argument("artifact", type=_FOLDER)
@click.option("-o", "--output", required=True, type=_FOLDER, help="Folder to write.")
@click.option("--title", default="", help="The page's heading.  [default: the artifact's folder]")
@click.option("--example", "examples", multiple=True, help="A text that visitors can choose; may be repeated.")
@click.option("--language", default="", help="The texts' language for the browser, such as sk or mt.")
@click.option("--vendor", type=_FOLDER, help="Folder with node_modules, in place of npm.")
@click.option("--replace", is_flag=True, help="Write over an earlier page; visitors get the new one.")
def export_web(
    artifact: Path, output: Path, vendor: Path | None, *, replace: bool, **said: str | tuple[str, ...]
) -> None:
    """Write a page that runs ARTIFACT in the visitor's browser.

    The folder holds all that it needs and goes on any server for static files, also below another page. After the first
    visit the page works without a network. npm (of Node.js) is needed once, to fetch onnxruntime and tokenizers for
    browsers; they are kept for the next time.
    """
    from edgecompress.artifact import open_artifact
    from edgecompress.web.site import Wording, note, write_site

    opened, console = open_artifact(artifact), terminal()
    wording = Wording(str(said["title"]) or artifact.resolve().name, tuple(said["examples"]), str(said["language"]))
    with progress(console):
        site = write_site(opened, output, wording=wording, vendor=vendor, replace=replace)
    total, model = megabytes(sum(site.sizes.values())), megabytes(opened.model_bytes)
    console.print(f"{output}: {len(site.sizes)} files, {total} (model {model})")
    if note(opened):
        console.print(f"note: {note(opened)}", soft_wrap=True)
    console.print(f"To look at it: python -m http.server --directory {output}", soft_wrap=True)
