"""How many steps and passes training takes, of all processes together."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgecompress.options import Training


def passes(examples: int, options: Training) -> float:
    """Return how often training goes over ``examples``."""
    return options.steps * _sequences(options) / examples if options.steps else options.epochs


def total_steps(examples: int, options: Training) -> int:
    """Return how many optimizer steps training takes."""
    return options.steps or math.ceil(steps_an_epoch(examples, options) * options.epochs)


def steps_an_epoch(examples: int, options: Training) -> int:
    """Return how many optimizer steps go over ``examples`` once."""
    return math.ceil(examples / _sequences(options))


def _sequences(options: Training) -> int:
    """Return how many sequences a step takes, of all processes together."""
    return options.batch_size * processes()


def processes() -> int:
    """Return how many processes train together: those that ``torchrun`` started, or one."""
    return int(os.environ.get("WORLD_SIZE", "1"))
