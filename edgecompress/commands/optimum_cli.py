"""`optimum-cli edgecompress …`: the whole command line as a subcommand of optimum's.

The wheel holds this file once more as ``optimum/commands/register/register_edgecompress.py``, where optimum looks for
commands of other packages. Nothing else imports it, and nothing happens where optimum is not installed.
"""

from __future__ import annotations

import sys
from argparse import REMAINDER, ArgumentParser

from optimum.commands.base import BaseOptimumCLICommand, CommandInfo


class EdgecompressCommand(BaseOptimumCLICommand):  # type: ignore[misc]
    """Hands the words after ``edgecompress`` to its own command line."""

    COMMAND = CommandInfo(name="edgecompress", help="Compress encoders into small, checked ONNX students.")

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Take every word as it is, options too: edgecompress knows them."""
        parser.prefix_chars = "\0"
        parser.add_argument(
            "words", nargs=REMAINDER, help="a command of edgecompress and its options; see --help there"
        )

    def run(self) -> None:
        """Run the command line, its exit code and its one-line errors included."""
        from edgecompress.cli import main

        sys.argv = ["optimum-cli edgecompress", *self.args.words]
        main()


REGISTER_COMMANDS = [EdgecompressCommand]
