"""The one resumable training loop, on Lightning Fabric.

State lies outside the declared outputs: the same command again resumes. A state whose fingerprint differs (settings,
data, STAGE_VERSION) is renamed stale-* with the differing key printed, and training starts anew. Batches and noise are
functions of (seed, stage, step), so that a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import csv
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel

from specdm import files
from specdm.errors import TrainingPaused, UserError
from specdm.progress import pace

LAST = "last.pt"


@dataclass(frozen=True)
class Plan:
    """How long to train and what to keep.

    Attributes:
        steps: optimiser steps.
        precision: Fabric's precision, "32-true" or "bf16-mixed".
        ema_decay: largest decay of the weight average, None for none.
        grad_clip: largest gradient norm.
        val_every: steps between validations, 0 for none.
        keep: weights to return: of the last step, or of the best validation "score".
        save_every_s: seconds between saved states.
        report_every_s: seconds between progress lines.
        max_minutes: pause after this time, 0 for never.
        resume_only: refuse a state of other settings instead of setting it aside.
    """

    steps: int
    precision: str = "32-true"
    ema_decay: float | None = None
    grad_clip: float = 1.0
    val_every: int = 0
    keep: Literal["last", "best"] = "last"
    save_every_s: float = 120.0
    report_every_s: float = 20.0
    max_minutes: float = 0.0
    resume_only: bool = False


@dataclass(frozen=True)
class Trained:
    """What `fit` returns: the weights asked for (of the average when there is one), and one row a report."""

    weights: dict[str, torch.Tensor]
    history: list[dict[str, float]]


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


def fit(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss_at: Callable[[nn.Module, int, torch.device], dict[str, torch.Tensor]],
    lr_factor: Callable[[int], float],
    plan: Plan,
    state: Path,
    fingerprint: dict,
    validate: Callable[[nn.Module, torch.device], dict[str, float]] | None = None,
    forward_methods: tuple[str, ...] = (),
    name: str = "training",
) -> Trained:
    """Train a model, resuming from `state` when it holds a matching run.

    Args:
        model: the module; `loss_at` must reach its parameters through its forward or one of `forward_methods`.
        optimiser: over the model's parameters, each group with its base learning rate.
        loss_at: (model, step, device) -> named float32 scalars with "total", the one minimised.
        forward_methods: methods of the model besides forward that `loss_at` calls.
        lr_factor: factor of the base learning rates at a step.
        plan: length, precision, averaging, what to keep.
        state: folder of the resumable state; remove it when the outputs are written.
        fingerprint: plain JSON; a state with another one is set aside.
        validate: (model, device) -> named numbers; "score" is the one maximised when plan.keep is "best".
        name: shown in the progress lines.

    Raises:
        UserError: when the loss is not finite, or a state of other settings meets plan.resume_only.
        TrainingPaused: when the time budget is used up or SIGTERM arrives; the state is saved.
    """
    started = time.monotonic()
    fabric = Fabric(accelerator="auto", devices=1, precision=plan.precision)
    base_lrs = [group["lr"] for group in optimiser.param_groups]
    average = None
    if plan.ema_decay is not None:
        average = AveragedModel(model, multi_avg_fn=_ema_update(plan.ema_decay)).to(fabric.device)
    wrapped, optimiser = fabric.setup(model, optimiser)
    for method in forward_methods:
        wrapped.mark_forward_method(method)

    done, history, best = 0, [], {"score": -math.inf, "weights": None}
    saved = _load(state, fingerprint, plan.resume_only)
    if saved:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        if average is not None:
            average.load_state_dict(saved["average"])
        done, history, best = saved["step"], saved["history"], saved["best"]
        print(f"{name}: resuming at step {done} of {plan.steps}", flush=True)

    def save(step: int) -> None:
        content = {
            "step": step,
            "fingerprint": fingerprint,
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "average": average.state_dict() if average is not None else None,
            "history": history,
            "best": best,
        }
        with files.new_file(state / LAST) as temporary:
            torch.save(content, temporary)

    def current() -> nn.Module:
        return average.module if average is not None else model

    reported, last_report, last_save = done, started, started
    with _SigtermFlag() as interrupted:
        for step in range(done, plan.steps):
            for group, lr in zip(optimiser.param_groups, base_lrs, strict=True):
                group["lr"] = lr * lr_factor(step)
            wrapped.train()
            losses = loss_at(wrapped, step, fabric.device)
            fabric.backward(losses["total"])
            norm = fabric.clip_gradients(wrapped, optimiser, max_norm=plan.grad_clip, error_if_nonfinite=False)
            if not torch.isfinite(norm):
                raise UserError(
                    f"{name}: the loss or its gradient is not finite at step {step} "
                    f"({', '.join(f'{k} {v.item():.4g}' for k, v in losses.items())}): lower the learning rate."
                )
            optimiser.step()
            optimiser.zero_grad()
            if average is not None:
                average.update_parameters(model)

            now, last = time.monotonic(), step + 1 == plan.steps
            row = {}
            if validate and plan.val_every and ((step + 1) % plan.val_every == 0 or last):
                current().eval()
                with torch.no_grad():
                    row = validate(current(), fabric.device)
                if plan.keep == "best" and row["score"] > best["score"]:
                    best = {"score": row["score"], "weights": _cpu_copy(current())}
            if row or last or now - last_report > plan.report_every_s:
                row = {k: float(v.detach()) for k, v in losses.items()} | row
                rate = (step + 1 - reported) / max(now - last_report, 1e-9)
                history.append({"step": step + 1, **row})
                print(_progress(name, step + 1, plan.steps, rate, row), flush=True)
                reported, last_report = step + 1, time.monotonic()
            budget_used = plan.max_minutes and now - started > 60 * plan.max_minutes
            if not last and (interrupted() or budget_used):
                save(step + 1)
                raise TrainingPaused(f"{name} is saved at step {step + 1} of {plan.steps}: the same command goes on.")
            if not last and now - last_save > plan.save_every_s:
                save(step + 1)
                last_save = time.monotonic()
    weights = best["weights"] if plan.keep == "best" and best["weights"] is not None else _cpu_copy(current())
    return Trained(weights, history)


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write the rows of a training as CSV; rows may have different columns."""
    columns = list(dict.fromkeys(key for row in history for key in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(history)


def made(model: nn.Module, steps: int, out: Path) -> str:
    """What a training made, for its command's last line: "1.3 million parameters, 700 steps in models/x"."""
    n = sum(p.numel() for p in model.parameters())
    size = f"{n / 1e6:.1f} million" if n >= 1e6 else str(n)
    return f"{size} parameters, {steps} steps in {out}"


def _progress(name: str, step: int, steps: int, rate: float, row: dict[str, float]) -> str:
    numbers = "  ".join(f"{key} {value:.4g}" for key, value in row.items())
    return f"{name}: step {step}/{steps}  {pace(rate, steps - step)}  {numbers}"


def _cpu_copy(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.detach().cpu().clone().contiguous() for key, value in model.state_dict().items()}


def _ema_update(largest: float) -> Callable:
    @torch.no_grad()
    def update(averages, parameters, n_averaged) -> None:
        decay = ema_decay_at(int(n_averaged), largest)
        torch._foreach_lerp_(list(averages), list(parameters), 1 - decay)

    return update


def _load(state: Path, fingerprint: dict, resume_only: bool) -> dict | None:
    path = state / LAST
    if not path.exists():
        return None
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged file raises whatever its first bad byte provokes
        raise UserError(f"{path} is damaged: remove the folder {state} to train anew.") from error
    if saved["fingerprint"] == fingerprint:
        return saved
    old = saved["fingerprint"]
    keys = [key for key in {**old, **fingerprint} if old.get(key) != fingerprint.get(key)]
    if resume_only:
        raise UserError(f"{state} belongs to another run, {keys[0]} differs: train without --resume-only.")
    stale = next(p for i in range(1, 10_000) if not (p := state.with_name(f"stale-{state.name}-{i}")).exists())
    os.replace(state, stale)
    print(f"state set aside as {stale.name}: {keys[0]} differs; training starts anew", file=sys.stderr, flush=True)
    return None


class _SigtermFlag:
    """Within the block, SIGTERM sets a flag instead of ending the process."""

    def __enter__(self) -> Callable[[], bool]:
        self._raised = False
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return lambda: self._raised

    def __exit__(self, *_) -> None:
        if self._main:
            signal.signal(signal.SIGTERM, self._previous)

    def _note(self, *_) -> None:
        self._raised = True
