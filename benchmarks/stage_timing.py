"""The speed of the project's own stages, cut short: a stage runs as it is, only its loop ends after some seconds.

A stage is called as the command line calls it, with its own settings. `timed_training` lets the training loop of
whatever stage runs within it go on for some seconds; the stage then writes what it has, so that the next one finds its
inputs. `untrained` does the same without a step. `timed_progress` watches the loops that tell their progress.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import ModuleType
from unittest import mock

import torch

from specdm import training
from specdm.errors import Paused

CUDA = torch.cuda.is_available()
NEVER = 1e9  # seconds


class Enough(Exception):
    """The time for measuring is over."""


@dataclass
class Clock:
    """When how many units were done, and what went wrong.

    Attributes:
        warm: marks before the first that counts: compiling, choice of kernels, caches.
        seconds: time to measure after that.
        marks: pairs of a time in seconds and the units done until then.
        loading_s: seconds spent in making data while the time counted.
        note: the first line of an error, empty without one.
    """

    warm: int
    seconds: float
    marks: list[tuple[float, int]] = field(default_factory=list)
    loading_s: float = 0.0
    note: str = ""

    def mark(self, done: int) -> None:
        """Note that `done` units are done on the device; raises Enough when the time is over."""
        if CUDA:
            torch.cuda.synchronize()
        self.marks.append((time.perf_counter(), done))
        if len(self.marks) > self.warm + 1 and self.measured_s >= self.seconds:
            raise Enough

    @property
    def counting(self) -> bool:
        return len(self.marks) > self.warm

    @property
    def measured_s(self) -> float:
        """Seconds between the first mark that counts and the last."""
        return self.marks[-1][0] - self.marks[self.warm][0] if self.counting else 0.0

    @property
    def per_second(self) -> float | None:
        """Units a second, None when too little was done to tell."""
        if not self.measured_s:
            return None
        return (self.marks[-1][1] - self.marks[self.warm][1]) / self.measured_s


@contextmanager
def timed_training(clock: Clock) -> Iterator[None]:
    """Within it, trainings run until the clock has enough and give the weights that they have then.

    They neither validate nor save states: both are rare events of a whole training. One that fails leaves its error in
    the clock's note and gives the weights that it has all the same.
    """

    def fit(model, optimiser, task, lr_factor, plan, state, fingerprint, forward_methods=(), name="training"):
        calls, part_size = 0, task.batch // plan.accumulate

        def losses(model, data, device):
            nonlocal calls
            clock.mark(calls * part_size)
            calls += 1
            return task.losses(model, data, device)

        def data_at(part):
            started = time.perf_counter()
            data = task.data_at(part)
            clock.loading_s += (time.perf_counter() - started) * clock.counting
            return data

        timed = dataclasses.replace(task, losses=losses, data_at=data_at, validate=None)
        plan = dataclasses.replace(plan, keep="last", patience=0, save_every_s=NEVER, report_every_s=NEVER)
        try:
            real_fit(model, optimiser, timed, lr_factor, plan, state, fingerprint, forward_methods, name)
        except Enough:
            pass
        except Paused as paused:  # SIGTERM
            raise SystemExit("interrupted: the table keeps what it has") from paused
        except Exception as error:  # whatever a machine cannot do; the other items go on
            clock.note = in_words(error)
        return _as_it_is(model)

    real_fit = training.fit
    with mock.patch.object(training, "fit", fit):
        yield


@contextmanager
def untrained() -> Iterator[None]:
    """Within it, trainings give the weights they start with."""
    with mock.patch.object(training, "fit", lambda model, *_, **__: _as_it_is(model)):
        yield


@contextmanager
def timed_progress(module: ModuleType, clock: Clock) -> Iterator[None]:
    """Within it, loops of a stage's module that tell their progress tell it to the clock, and stop when it has enough.

    A loop that must run to its end needs a clock with endless `seconds`.
    """

    class Marks:
        def __init__(self, *_, **__):
            pass

        def update(self, done: int, *_, **__) -> None:
            clock.mark(done)

    with mock.patch.object(module, "Progress", Marks), suppress(Enough):
        yield


def in_words(error: BaseException) -> str:
    """The first line of an error, with its kind where that says more."""
    line = (str(error).splitlines() or [""])[0]
    if isinstance(error, torch.OutOfMemoryError):
        return f"out of memory: {line}"
    return line if "out of memory" in line else f"{type(error).__name__}: {line}"


def _as_it_is(model: torch.nn.Module) -> training.Trained:
    weights = {key: value.detach().cpu().clone().contiguous() for key, value in model.state_dict().items()}
    return training.Trained(weights, [], 0, True, 0.0)
