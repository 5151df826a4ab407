"""Everything that trains goes through here: transformers' Trainer with time-based checkpoints and strict loading.

Because it is the Trainer, ``torchrun`` and ``accelerate launch`` scale it, and its checkpoints hold the optimiser, the
schedule and the random generators: a stopped run goes on as if it had not been stopped.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from edgecompress.errors import CheckError, OutputError
from edgecompress.files import need_space, output_error
from edgecompress.options import Training
from edgecompress.progress import report
from edgecompress.training.computing import fast_attention, set_dropout, wants_bf16
from edgecompress.training.sampler import EpochSampler
from edgecompress.training.steps import processes, steps_an_epoch, total_steps

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import TrainerControl, TrainerState

    from edgecompress.training.mixture import Mixture
    from edgecompress.training.sampler import TaskSampler

_WEIGHTS = "module.safetensors"
_CURVE = 60  # points that a training curve is kept with
_NO_STEP = 1e-9  # of an epoch: less than one step is
_CHECKPOINT_SIZES = 3  # a checkpoint holds the weights and two moments of each
_folder: ContextVar[Path | None] = ContextVar("edgecompress_checkpoints", default=None)


@contextmanager
def checkpoints_in(folder: Path) -> Iterator[None]:
    """Keep the checkpoints of training inside the block in ``folder``, and go on from the one found there."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


@contextmanager
def working_folder() -> Iterator[Path]:
    """Yield the folder of :func:`checkpoints_in`, or without one a temporary folder."""
    if folder := _folder.get():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(folder, error) from error
        yield folder
        return
    with TemporaryDirectory(prefix="edgecompress-") as scratch:
        yield Path(scratch)


@dataclass(frozen=True)
class Data:
    """``train`` and how to collate it; ``validation`` and ``score`` (predictions, labels → metrics) pick the best epoch
    by ``headline``. ``parts`` are other metrics that are worth keeping; ``sampler`` draws an epoch's rows, by default
    :class:`EpochSampler`.
    """

    train: Dataset | Mixture
    collate: Callable[[list[dict[str, Any]]], dict[str, Any]]
    validation: Dataset | Mixture | None = None
    score: Callable[[Any], dict[str, float]] | None = None
    headline: str = ""
    parts: tuple[str, ...] = ()
    sampler: TaskSampler | None = None


def fit(module: nn.Module, data: Data, options: Training, *, label: str) -> dict[str, Any]:
    """Train ``module`` (its forward returns {"loss": …}) in place and return what happened.

    The result holds ``steps``, ``loss`` (the last one logged), ``curve`` (pairs of step and loss) and, with validation
    data, ``best`` (the headline metric), ``scores`` (pairs of step and metric) and ``parts`` (such pairs by name).
    Where nothing is trained, validation data are scored once.

    Raises InputError for ``precision="bf16"`` where the hardware lacks it, OutputError when checkpoints cannot
    be written, CheckError when a weight is no number any more.
    """
    trains = bool(options.steps or options.epochs)
    if not trains and not data.score:
        return {"steps": 0}
    set_dropout(module, options.dropout)
    with working_folder() as work:
        trainer = _Trainer(
            model=module,
            args=_arguments(work, data, options),
            train_dataset=data.train,
            eval_dataset=data.validation,
            data_collator=data.collate,
            compute_metrics=data.score,
            preprocess_logits_for_metrics=_argmax if data.score else None,
            callbacks=[_Signs(label, f"eval_{data.headline}")],
        )
        trainer.model_accepts_loss_kwargs = False  # a loss is its batch's mean: no process multiplies it
        stopped = _last_checkpoint(work) if trains else None
        trainer.sampler = data.sampler or trainer.by_length()
        if stopped:  # of several processes, no other would tell a sampler the epoch that it goes on in
            trainer.sampler.set_epoch(_step_of(Path(stopped)) // steps_an_epoch(len(data.train), options))
        trainer.remove_callback(PrinterCallback)  # progress goes to the listener, not to standard output
        try:
            with fast_attention(module, options), warnings.catch_warnings():
                # transformers 4 says so of two checkpoints within a second, and then sorts them by number
                warnings.filterwarnings("ignore", "mtime may not be reliable")
                trainer.train(resume_from_checkpoint=stopped) if trains else trainer.evaluate()
        except OSError as error:
            raise output_error(work, error) from error
        except SafetensorError as error:
            raise OutputError(f"cannot write {work}: {error}") from error
    module.to("cpu")  # where bundles live, whatever trained them
    history = trainer.state.log_history
    losses = _points(history, "loss", 4)
    thin = -(-len(losses) // _CURVE) or 1
    curve = losses[::-1][::thin][::-1]  # the last one always
    last = losses[-1][1] if losses else None
    return {"steps": trainer.state.global_step, "loss": last, "curve": curve, **_scores(history, data)}


def _scores(history: list[dict[str, Any]], data: Data) -> dict[str, Any]:
    if not data.score:
        return {}
    headline = f"eval_{data.headline}"
    found: dict[str, Any] = {
        "best": max(float(row[headline]) for row in history if headline in row),
        "scores": _points(history, headline, 2),
    }
    return (
        {**found, "parts": {name: _points(history, f"eval_{name}", 2) for name in data.parts}} if data.parts else found
    )


def _points(history: list[dict[str, Any]], name: str, digits: int) -> list[list[float]]:
    return [[row["step"], round(float(row[name]), digits)] for row in history if name in row]


def _arguments(work: Path, data: Data, options: Training) -> TrainingArguments:
    chosen: dict[str, Any] = {"save_strategy": "no", "eval_strategy": "no"}
    if data.score:
        chosen = {
            "save_strategy": "epoch",
            "eval_strategy": "epoch",
            "load_best_model_at_end": True,
            "metric_for_best_model": data.headline,
        }
    made = TrainingArguments(
        output_dir=str(work),
        max_steps=options.steps or -1,
        num_train_epochs=options.epochs or 1.0,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        warmup_steps=round(options.warmup * total_steps(len(data.train), options)),
        weight_decay=options.weight_decay,
        use_cpu=not torch.cuda.is_available(),
        bf16=wants_bf16(options),
        seed=options.seed,
        save_total_limit=1,
        logging_steps=20,
        report_to=[],
        ddp_find_unused_parameters=True,  # a head or pooler that no loss reaches
        disable_tqdm=True,
        log_level="error",
        dataloader_pin_memory=torch.cuda.is_available(),
        label_names=["labels"],
        remove_unused_columns=False,
        **chosen,
    )
    if made.n_gpu > 1:  # DataParallel would cut every tensor of a batch into equal parts: torchrun is how to scale
        made._n_gpu = 1  # noqa: SLF001
    return made


def _argmax(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    """Keep only the predictions: the logits of a whole split need not be held."""
    return logits.argmax(-1)


def _last_checkpoint(work: Path) -> str | None:
    """Return the newest checkpoint that was finished: the state file is what the Trainer writes last."""
    found = []
    for state in work.glob("checkpoint-*/trainer_state.json"):
        try:
            found.append((_step_of(state.parent), str(state.parent)))
        except ValueError:  # cut off while it was written: an older one will do
            continue
    return max(found)[1] if found else None


def _step_of(checkpoint: Path) -> int:
    return int(json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["global_step"])


class _Signs(TrainerCallback):  # type: ignore[misc]
    """Reports progress, asks for a checkpoint every so many seconds, and ends what has diverged: the log would not
    tell, as transformers leaves a loss that is no number out of its mean.
    """

    def __init__(self, label: str, headline: str) -> None:
        self.label, self.note, self.saved = label, "", time.monotonic()
        self.noted = {"loss": "loss", headline: "score"}
        self.every = float(os.environ.get("EDGECOMPRESS_CHECKPOINT_SECONDS", "120"))

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:  # noqa: ARG002
        if not all(bool(weight.isfinite().all()) for weight in kwargs["model"].parameters()):
            raise CheckError(
                f"{self.label}: the weights are no numbers any more at step {state.global_step}: the training "
                "diverged, lower its learning_rate"
            )
        last = state.log_history[-1]
        self.note = ", ".join(f"{name} {last[key]:.3f}" for key, name in self.noted.items() if key in last) or self.note

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:  # noqa: ARG002
        report(self.label, state.global_step, state.max_steps, self.note)
        if self._is_due(args, state) and not _ends_an_epoch(state):
            control.should_save, self.saved = True, time.monotonic()

    def _is_due(self, args: Any, state: TrainerState) -> bool:
        """Whether the time has come; of several processes the first one's clock decides, at the steps that are logged:
        all must save at the same step, or each waits for another thing than the others.
        """
        due = time.monotonic() - self.saved > self.every
        if processes() == 1:
            return due
        if state.global_step % args.logging_steps:
            return False
        flag = torch.tensor(int(due), device=args.device)
        torch.distributed.broadcast(flag, 0)
        return bool(flag.item())


def _ends_an_epoch(state: TrainerState) -> bool:
    """Whether validation comes next: what goes on from a checkpoint of this step would take it for done."""
    epoch = float(state.epoch)
    return bool(state.global_step >= state.max_steps) or abs(epoch - round(epoch)) < _NO_STEP


class _Trainer(Trainer):  # type: ignore[misc]
    """Saves any module with shared tensors, and loads strictly: the stock Trainer only warns about missing keys."""

    sampler: EpochSampler | TaskSampler

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ARG002
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        weights = sum(p.numel() * p.element_size() for p in self.model.parameters())
        need_space(folder, _CHECKPOINT_SIZES * weights)
        save_model(self.accelerator.unwrap_model(self.model), str(folder / _WEIGHTS))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_model(model or self.model, Path(resume_from_checkpoint) / _WEIGHTS, strict=True)

    def _load_best_model(self) -> None:
        load_model(self.accelerator.unwrap_model(self.model), Path(self.state.best_model_checkpoint) / _WEIGHTS)

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler | TaskSampler:  # noqa: ARG002
        return self.sampler

    def by_length(self) -> EpochSampler:
        """Return the sampler of data that are not a mixture of tasks."""
        data = self.train_dataset
        lengths = list(data["length"]) if "length" in data.column_names else None
        return EpochSampler(len(data), self.args.train_batch_size, self.args.seed, lengths)
