"""Groups of options that several stages share. A stage's signature, these included, is the recipe's schema."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Training:
    """How long and how fast to train.

    ``steps`` optimiser steps, or ``epochs`` passes over the data where ``steps`` is 0 (both 0: no training, the cut
    alone); of the data at most ``examples`` sequences or examples, drawn evenly (0: all). ``batch_size`` sequences a
    step (a process, where several train together) of at most ``max_length`` tokens, ``learning_rate`` at the peak of a
    linear schedule whose first ``warmup`` share rises. ``dropout`` replaces the model's own rates while training (None:
    keeps them). ``precision``: "auto" takes bfloat16 autocast where the processor has instructions for it.
    """

    steps: int = 0
    epochs: float = 0.0
    examples: int = 0
    batch_size: int = 32
    learning_rate: float = 5e-4
    warmup: float = 0.06
    weight_decay: float = 0.01
    max_length: int = 128
    dropout: float | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Objective:
    """What a student imitates: the weight of each loss (0 switches it off).

    ``mlm`` masked-LM cross-entropy on the true token (α of arXiv 2505.16956) and ``logits`` the distance to the
    teacher's MLM logits (1 − α), by ``logits_loss`` at ``temperature`` (KL), both at the ``mask``ed share of positions,
    or with ``logits_at`` "all" the logits at every position, as in that paper (seven times the decoder's work at 0.15).
    ``hidden`` squared error to the teacher's hidden states through a learned projection, in units of their
    variance, of ``hidden_layers``: all (and the embeddings), the middle and the last, or the last. ``relations``
    MiniLMv2 query, key and value self-relations of the last layers (arXiv 2012.15828, eq. 5) in ``relation_heads``
    heads. All of it on sequences of ``lengths``, each a divisor of training's ``max_length`` (none: all as long as
    that), which share the tokens evenly; ``batch_size`` and ``examples`` then count rows of ``max_length``, each of
    sequences of one length. Short ones teach more a step, but a student reads long texts only as long ones taught it.
    """

    mlm: float = 0.0
    logits: float = 0.0
    logits_loss: Literal["mse", "kl"] = "mse"
    logits_at: Literal["masked", "all"] = "masked"
    temperature: float = 1.0
    hidden: float = 1.0
    hidden_layers: Literal["all", "middle-last", "last"] = "middle-last"
    relations: float = 1.0
    relation_heads: int = 12
    mask: float = 0.15
    lengths: tuple[int, ...] = ()


@dataclass(frozen=True)
class TaskFiles:
    """A task of ``edgecompress.tasks.TASKS`` and the JSON-lines files of its splits."""

    kind: str
    train: tuple[Path, ...] = ()
    validation: tuple[Path, ...] = ()
    test: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Selection:
    """What else decides which tokens stay, beside their number and their counts.

    ``coverage``: the most frequent tokens that make up this share of the text's tokens (1: all that were seen).
    ``keep_files``: files of tokens that stay, one a line. ``alphabet``: languages ("sk", "mt") whose letters stay, by
    CLDR's exemplar characters; ``letters``: further characters that stay. ``fill``: what fills up to ``size`` where
    fewer tokens were seen: "rank" unseen tokens in the order of the tokenizer's ids, "script" only those written in the
    text's scripts.
    """

    coverage: float = 1.0
    keep_files: tuple[Path, ...] = ()
    alphabet: tuple[str, ...] = ()
    letters: str = ""
    fill: Literal["none", "rank", "script"] = "none"


@dataclass(frozen=True)
class Soft:
    """How a student learns from the predictions of a teacher that was fine-tuned for the same task.

    The loss is (1 − ``share``) · cross-entropy on true labels (none where there is no label: the mean is over all, so
    that the true labels weigh the less, the more text is unlabelled) + ``share`` · KL to the teacher's probabilities at
    ``soft_temperature`` (Hinton et al. 2015, arXiv 1503.02531) + ``states`` · squared error to the teacher's last
    hidden states through a learned projection, in units of their variance (Jiao et al. 2020, arXiv 1909.10351).
    ``lines`` of the corpora, which nobody has labelled, join the examples, and ``copies`` of each example in which a
    share ``swap`` of the tokens is swapped for tokens of similar meaning: of these only the teacher knows the labels.
    """

    share: float = 0.9
    soft_temperature: float = 1.0
    lines: int = 5000
    copies: int = 2
    swap: float = 0.3
    states: float = 1.0


@dataclass(frozen=True)
class Sampling:
    """How often each of several tasks is drawn: one with N examples gets a share ∝ N^a of an epoch's batches.

    The exponent a goes from ``alpha`` in the first epoch to ``alpha_end`` in the last. 1 to 0.2 is the annealed
    sampling of Stickland & Murray 2019 (arXiv 1902.02671): at first what the data weigh, at last nearly the same for
    each, so that the small tasks are not forgotten. 1 to 1 is proportional, 0 to 0 even.
    """

    alpha: float = 1.0
    alpha_end: float = 0.2
