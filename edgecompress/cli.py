"""The command line. Commands are imported when they are called: ``--help`` must not wait for torch."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module

import click

from edgecompress import __version__
from edgecompress.errors import EdgecompressError

# command → module that defines `command(name) -> click.Command`, and the line that --help shows
_COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("run", "Make four students, one per task, from a packaged teacher, and measure them."),
    "run": ("run", "Run a recipe: stages, export, quantization, benchmark. Stop and rerun at will."),
    "trim": ("stage", "Keep only the vocabulary that the languages use."),
    "verify-tokenizer": ("tokenizer", "Compare a trimmed tokenizer with its original on held-out text."),
    "adapt": ("stage", "Train the teacher as a masked language model on the language's text."),
    "distill": ("stage", "Train a shallower or a cut student to imitate its teacher."),
    "prune": ("stage", "Remove the FFN neurons and heads that matter least."),
    "truncate": ("stage", "Cut the hidden size."),
    "multitask": ("stage", "Train one encoder for several tasks, to share it between their students."),
    "finetune": ("stage", "Train an encoder for a task: topic, sentiment, ner or pos."),
    "export": ("artifact", "Write a fine-tuned model as a checked ONNX artifact."),
    "quantize": ("graph", "Write an artifact with smaller numbers, if it still says the same."),
    "convert": ("artifact", "Arrange an artifact for transformers.js, optimum, or in ORT format."),
    "export-web": ("web", "Write a page that runs an artifact in the browser."),
    "pack": ("pack", "Write artifacts that share an encoder as one: all their tasks from one pass."),
    "tune": ("graph", "Write the graph in the way that is fastest on this machine."),
    "verify": ("graph", "Compare two models: folders, artifacts or packs."),
    "inspect": ("graph", "Show where an artifact's bytes are, and how it computes."),
    "predict": ("artifact", "Label texts with an artifact (onnxruntime alone)."),
    "serve": ("serve", "Serve artifacts over HTTP, with onnxruntime alone."),
    "bench": ("bench", "Measure accuracy, size and latency of students beside their teacher."),
    "report": ("report", "Show what bench measured: an HTML page, Markdown or CSV."),
    "compare": ("compare", "Compare two results of one machine; exit 1 past --max-regression."),
    "card": ("publish", "Write the model card of an artifact, with its measured scores."),
    "push": ("publish", "Upload an artifact with its card to a hub repository."),
}


class _Lazy(click.Group):
    """Imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"edgecompress.commands.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command(cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a near miss is shown, as it is for stages and options."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from edgecompress.binding import near

            ctx.fail(f"No such command {args[0]!r}{near(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edgecompress")
def group() -> None:
    """Compress multilingual encoders into small, checked ONNX students.

    Start with `edgecompress demo`, or with a recipe: `edgecompress run recipe.toml -o out/`.
    """


def _quieten() -> None:
    """Silence libraries that write over the progress; their errors still come as exceptions.

    They read this when they are imported, so it stands before everything else.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def _show_all() -> None:
    """Let results show what is no text, too: a file's name that is not UTF-8, escaped as it is on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Write our own warnings as errors are written: without the line of code that gave them."""
    if category.__module__.startswith("edgecompress."):
        return f"edgecompress: {message}\n"
    return _format(message, category, filename, lineno, line)


def _goes_on(words: Sequence[str]) -> bool:
    """Whether a command that was stopped keeps what it has done: those that train, and reading a file."""
    name = next((word for word in words if word in _COMMANDS), "")
    module = _COMMANDS[name][0] if name else ""
    return module in ("run", "stage") or (name == "predict" and any(w.startswith("--input") for w in words))


_format = warnings.formatwarning


def main() -> None:
    """Run the command line: an error that edgecompress knows is one line on stderr and its own exit code."""
    _quieten()
    _show_all()
    warnings.formatwarning = _one_line
    try:
        group(standalone_mode=False, prog_name="edgecompress")
    except EdgecompressError as error:
        click.echo(f"edgecompress: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        click.echo(f"edgecompress: {error.filename or 'input or output'}: {error.strerror or error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        where = f" (see {context.command_path} --help)" if context else ""
        click.echo(f"edgecompress: {' '.join(error.format_message().split()).rstrip('.')}{where}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        more = "; the same command goes on from here" if _goes_on(sys.argv[1:]) else ""
        click.echo(f"edgecompress: stopped{more}", err=True)
        sys.exit(130)
