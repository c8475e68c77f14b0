"""The one resumable training loop.

State lies outside the declared outputs: the same command again resumes. Batches and noise are functions of (seed,
stage, step), so that a resumed run sees what an uninterrupted one would have seen, and several processes together what
a single one would have seen.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from specdm.errors import Paused, TrainingLost, UserError
from specdm.randomness import seed_of
from specdm.training import state as states
from specdm.training.ahead import Ahead
from specdm.training.devices import Processes
from specdm.training.plan import Part, Plan, Task, Trained, ema_decay_at, every
from specdm.training.record import Record

N_ROWS = 200  # of the history, besides those of validations
SAVING_SHARE = 0.05  # of the time, at most
LEFT_OUT_IN_A_ROW = 10  # steps without a finite gradient that end a training; single ones happen in bfloat16


def fit(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    task: Task,
    lr_factor: Callable[[int], float],
    plan: Plan,
    state: Path,
    fingerprint: dict,
    forward_methods: tuple[str, ...] = (),
    name: str = "training",
) -> Trained:
    """Train a model, resuming from `state` when it holds a matching run.

    Args:
        model: the module; `task.losses` must reach its parameters through its forward or one of `forward_methods`.
        optimiser: over the model's parameters, each group with its base learning rate.
        task: data, losses and validation.
        lr_factor: factor of the base learning rates at a step.
        plan: length, precision, averaging, what to keep.
        state: folder of the resumable state, and of history.csv while the training runs; remove it when the outputs
            are written.
        fingerprint: plain JSON; a state with another one is set aside.
        forward_methods: methods of the model besides forward that `task.losses` calls.
        name: shown in the progress.

    Raises:
        TrainingLost: when a loss is not finite, or for LEFT_OUT_IN_A_ROW steps the gradient (fewer are left out, and
            told).
        UserError: when memory does not suffice, the batch does not divide into its parts, or a state of other settings
            meets plan.resume_only.
        Paused: when the time budget is used up or SIGTERM arrives; the state is saved.
    """
    started = time.monotonic()
    processes = Processes(plan)
    n_parts = plan.accumulate * processes.size
    if task.batch % n_parts:
        raise UserError(
            f"{name}: a batch of {task.batch} does not divide into {n_parts} parts ({processes.size} process(es), "
            f"accumulate {plan.accumulate}): choose a batch that is a multiple of them."
        )
    base_lrs = [group["lr"] for group in optimiser.param_groups]
    wrapped, optimiser = processes.setup(model, optimiser, forward_methods)
    average = AveragedModel(model, multi_avg_fn=_ema_update(plan.ema_decay)) if plan.ema_decay is not None else None

    writes = processes.rank == 0
    done, history, sums, best = 0, [], {}, _nothing_yet()
    saved = states.load(state, fingerprint, plan.resume_only, sets_aside=writes, all_read=processes.wait)
    if saved:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        if average is not None:
            average.load_state_dict(saved["average"])
        done, history, sums, best = saved["step"], saved["history"], saved["sums"], saved["best"]
        if writes:
            print(f"{name}: resuming at step {done} of {plan.steps}", flush=True)

    def save(step: int) -> None:
        if writes:
            states.save(
                state,
                {
                    "step": step,
                    "fingerprint": fingerprint,
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "average": average.state_dict() if average is not None else None,
                    "history": history,
                    "sums": sums,
                    "best": best,
                },
            )

    def current() -> nn.Module:
        return average.module if average is not None else model

    path = state / "history.csv" if writes else None
    record = Record(name, plan.steps, done, history, sums, path, plan.report_every_s, processes.device)
    row_every, last_save, pause_of_saving = every(plan.steps, N_ROWS), started, plan.save_every_s
    left_out, slowest_s, before = 0, 0.0, math.inf  # the first step may have to compile: it counts for nothing
    parts = _parts(range(done, plan.steps), plan.accumulate, processes.rank, n_parts)
    with _SigtermFlag() as interrupted, Ahead(task.data_at, parts, processes.loaders) as ahead:
        for step in range(done, plan.steps):
            for group, lr in zip(optimiser.param_groups, base_lrs, strict=True):
                group["lr"] = lr * lr_factor(step)
            wrapped.train()
            terms, problem = _step(wrapped, optimiser, task, plan, processes, ahead, name)
            left_out = left_out + 1 if problem else 0
            if problem and left_out == LEFT_OUT_IN_A_ROW:
                raise TrainingLost(
                    f"{name}: {problem}, as in the {left_out - 1} steps before: lower the learning rate."
                )
            if problem and writes:
                print(f"{name}: {problem}: the step is left out", flush=True)
            if average is not None:
                average.update_parameters(model)
            record.add(processes.mean(terms))

            now, last = time.monotonic(), step + 1 == plan.steps
            row = {}
            if task.validate and plan.val_every and ((step + 1) % plan.val_every == 0 or last):
                if writes:
                    current().eval()
                    with torch.no_grad():
                        row = task.validate(current(), processes.device, step + 1)
                row = processes.same_for_all(row)
                best = _better(best, row, plan, current())
            if row or last or (step + 1) % row_every == 0:
                record.row(step + 1, row)
            record.tell(step + 1, ahead.waited_s / max(now - started, 1e-9), speak=bool(row) or last)
            if plan.patience and best["since"] >= plan.patience:
                break
            slowest_s, before = max(slowest_s, now - before), now
            budget_used = now + slowest_s > plan.ends
            if not last and processes.any(interrupted() or budget_used):
                save(step + 1)
                processes.wait()  # torchrun ends the other processes, also one that still writes, when one has left
                record.close()
                raise Paused(f"{name} is saved at step {step + 1} of {plan.steps}: the same command goes on.")
            if not last and now - last_save > pause_of_saving:
                save(step + 1)
                last_save = time.monotonic()
                pause_of_saving = max(plan.save_every_s, (last_save - now) / SAVING_SHARE)
    record.close()
    if step + 1 < plan.steps and writes:
        print(f"{name}: stopped at step {step + 1}, best {plan.patience} validations before", flush=True)
    weights = best["weights"] if plan.keep == "best" and best["weights"] is not None else _cpu_copy(current())
    return Trained(weights, history, step + 1, writes, ahead.waited_s / (time.monotonic() - started))


def _step(
    wrapped, optimiser, task: Task, plan: Plan, processes: Processes, ahead: Ahead, name: str
) -> tuple[dict, str]:
    """Take one optimiser step; returns the mean loss terms of this process's parts, and why the step was left out.

    A gradient that is not finite where the loss is leaves all weights as they were, in all processes: they share it.
    """
    terms: dict[str, float] = {}
    taken = []
    try:
        for i in range(plan.accumulate):
            part, data = next(ahead)
            # Dropout draws from the global generator: keyed by the step, a resumed run repeats its draws.
            torch.manual_seed(seed_of(*plan.key, "dropout", part.step, part.index))
            with processes.exchange(wrapped, last=i + 1 == plan.accumulate):
                losses = task.losses(wrapped, data, processes.device)
                processes.backward(losses["total"] / plan.accumulate)
            taken.append((part, {key: float(value.detach()) for key, value in losses.items()}))
            for key, value in taken[-1][1].items():
                terms[key] = terms.get(key, 0.0) + value / plan.accumulate
        norm = processes.clip(wrapped, optimiser, plan.grad_clip)
        lost, shared_finite, problem = not math.isfinite(terms["total"]), bool(torch.isfinite(norm)), ""
        if lost or not shared_finite:
            problem = _not_finite(taken, task)
            if lost if shared_finite else processes.any(lost):  # all ask each other, or none
                raise TrainingLost(f"{name}: {problem}: lower the learning rate.")
        else:
            optimiser.step()
        optimiser.zero_grad()
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error):
            raise UserError(
                f"{name}: out of memory at a batch of {task.batch} in {plan.accumulate * processes.size} parts: raise "
                "`accumulate` (parts of a batch taken one after the other, same result), or lower `batch` or `width`."
            ) from error
        raise
    return terms, problem


def _not_finite(taken: list[tuple[Part, dict[str, float]]], task: Task) -> str:
    """The words that say at which step, in which term and for which patches a loss went wrong."""
    part, losses = next(((p, t) for p, t in taken if not all(map(math.isfinite, t.values()))), taken[0])
    bad = [key for key, value in losses.items() if not math.isfinite(value)]
    term = next((key for key in bad if key != "total"), bad[0] if bad else "the gradient")
    numbers = ", ".join(f"{key} {value:.4g}" for key, value in losses.items())
    ids = f"; batch: {', '.join(task.ids(part))}" if task.ids else ""
    return f"{term} is not finite at step {part.step} ({numbers}{ids})"


def _parts(steps: range, accumulate: int, rank: int, n_parts: int) -> Iterator[Part]:
    for step in steps:
        for i in range(accumulate):
            yield Part(step, rank * accumulate + i, n_parts)


def _nothing_yet() -> dict:
    return {"score": -math.inf, "weights": None, "since": 0}


def _better(best: dict, row: dict, plan: Plan, model: nn.Module) -> dict:
    """The best validation so far, with its weights, and how many validations came since."""
    if plan.keep != "best" and not plan.patience:
        return best
    if row["score"] > best["score"]:
        return {"score": row["score"], "weights": _cpu_copy(model) if plan.keep == "best" else None, "since": 0}
    return {**best, "since": best["since"] + 1}


def _cpu_copy(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.detach().cpu().clone().contiguous() for key, value in model.state_dict().items()}


def _ema_update(largest: float) -> Callable:
    @torch.no_grad()
    def update(averages, parameters, n_averaged) -> None:
        decay = ema_decay_at(int(n_averaged), largest)
        torch._foreach_lerp_(list(averages), list(parameters), 1 - decay)

    return update


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
