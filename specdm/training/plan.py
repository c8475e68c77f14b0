"""What a training is told: how long, in which format, what to keep; and which part of a batch a process works on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch


@dataclass(frozen=True)
class Plan:
    """How long to train and what to keep.

    Attributes:
        steps: optimiser steps.
        key: names the training; with the step it seeds what networks draw themselves (dropout).
        accumulate: parts of a step's batch that a process takes one after the other; same result, less memory.
        precision: "32-true", "bf16-mixed", or "auto": bfloat16 on a GPU that has it.
        compile: compile the network where that pays, which is on a GPU.
        channels_last: keep feature maps channels-last.
        ema_decay: largest decay of the weight average, None for none.
        grad_clip: largest gradient norm.
        val_every: steps between validations, 0 for none.
        keep: weights to return: of the last step, or of the best validation "score".
        patience: stop after this many validations in a row without a better "score", 0 for never.
        save_every_s: seconds between saved states; more where saving itself takes long.
        report_every_s: seconds between progress lines.
        ends: pause before time.monotonic() says so.
        resume_only: refuse a state of other settings instead of setting it aside.
    """

    steps: int
    key: tuple[int | str, ...] = ()
    accumulate: int = 1
    precision: Literal["auto", "32-true", "bf16-mixed"] = "32-true"
    compile: bool = False
    channels_last: bool = False
    ema_decay: float | None = None
    grad_clip: float = 1.0
    val_every: int = 0
    keep: Literal["last", "best"] = "last"
    patience: int = 0
    save_every_s: float = 120.0
    report_every_s: float = 20.0
    ends: float = math.inf
    resume_only: bool = False


class Part(NamedTuple):
    """Part `index` of the `of` equal parts into which the batch of a step is split, over processes and accumulation.

    All randomness of a step is drawn for its whole batch and then split, so that the parts together are the same
    batch however many there are.
    """

    step: int
    index: int = 0
    of: int = 1

    def take(self, batch: Any) -> Any:
        """The part's own entries of something with one entry a sample (array, tensor or list)."""
        size = len(batch) // self.of
        return batch[self.index * size : (self.index + 1) * size]


@dataclass(frozen=True)
class Task:
    """What is trained on.

    Attributes:
        data_at: part of a step -> what its loss needs, on the CPU; called ahead of time from other threads, several at
            the same time, so all of its randomness must come from the step.
        losses: (model, data, device) -> named float32 scalars with "total", the one minimised.
        batch: samples of a step, over all processes; must divide into the parts.
        ids: part of a step -> names of its samples, told when a loss is not finite.
        validate: (model, device, step) -> named numbers; "score" is the one maximised.
    """

    data_at: Callable[[Part], Any]
    losses: Callable[[torch.nn.Module, Any, torch.device], dict[str, torch.Tensor]]
    batch: int
    ids: Callable[[Part], list[str]] | None = None
    validate: Callable[[torch.nn.Module, torch.device, int], dict[str, float]] | None = None


@dataclass(frozen=True)
class Trained:
    """What `fit` returns.

    Attributes:
        weights: those asked for, of the average when there is one.
        history: one row an interval: step, mean loss terms since the last row, what `validate` said.
        steps: optimiser steps taken, fewer than planned when it stopped early.
        writes: True in the one process that writes outputs.
        waited: share of the time that was spent waiting for data.
    """

    weights: dict[str, torch.Tensor]
    history: list[dict[str, float]]
    steps: int
    writes: bool
    waited: float


def warmup_then(steps: int, shape: Literal["constant", "poly", "linear"], warmup: int, power: float = 1.0) -> Callable:
    """Factor of the learning rate over steps: linear warm-up, then constant, or (1 - progress)^power ("linear": 1)."""

    def factor(step: int) -> float:
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        if shape == "constant":
            return rise
        return rise * (1 - step / steps) ** (power if shape == "poly" else 1.0)

    return factor


def ema_decay_at(n_updates: int, largest: float) -> float:
    """Decay of the weight average after n updates, min(largest, (1 + n) / (10 + n)) as in LDM."""
    return min(largest, (1 + n_updates) / (10 + n_updates))


def every(steps: int, times: int) -> int:
    """Steps between events that should happen `times` times in `steps` steps."""
    return max(1, math.ceil(steps / times))
