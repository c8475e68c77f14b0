"""The stages of an experiment at their configured sizes, each measured for some seconds, on patches of noise."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from noise import patch_set
from stage_timing import CUDA, Clock, Enough, timed_progress, timed_training, untrained

from specdm.config import Config
from specdm.settings import MethodSettings, Regime

STEPS = 5  # of a training, before its clock counts
ENCODING = 32  # patches a batch, the stage's own
N_TRAIN, N_OTHER = 128, 32  # patches of noise, in the training split and in each other one
LARGE_PX = 192  # larger patches are as few in training as in the other splits
UNCHANGED, STRONG = "basic", "strong"  # augmentation


@dataclass(frozen=True)
class Item:
    """What is measured by itself: a stage on a data set with a method, a network or an augmentation."""

    stage: str
    dataset: str
    name: str

    def __str__(self) -> str:
        return f"{self.stage}/{self.dataset}/{self.name}"


@dataclass(frozen=True)
class Rate:
    """What was found.

    Attributes:
        what: stage and what of it, such as "downstream training".
        batch, unit: how many of what were taken together.
        per_second: units a second; None when it failed.
        peak_gib: largest memory in use on the GPU; None without one.
        seconds: how long was measured.
        loading: share of that time in which the thread that loads data worked: near 1 it sets the pace.
        note: what went wrong.
    """

    what: str
    batch: int
    unit: str
    per_second: float | None = None
    peak_gib: float | None = None
    seconds: float = 0.0
    loading: float | None = None
    note: str = ""


class Workplace:
    """Measures items; what a stage reads is made first, untrained, where it lacks.

    Stages are imported where they run: what one of them needs and a machine lacks stops that one alone.

    Args:
        config: the experiments.
        folder: receives everything that the stages write.
        seconds: to measure each.
    """

    def __init__(self, config: Config, folder: Path, seconds: float):
        self.config, self.folder, self.seconds = config, folder, seconds

    def autoencoder(self, item: Item) -> Iterator[Rate]:
        clock = Clock(STEPS, self.seconds)
        with timed_training(clock):
            self._autoencoder(item)
        yield _rate("autoencoder training", self._method(item).autoencoder.batch, "patches", clock)

    def encoding(self, item: Item) -> Iterator[Rate]:
        with untrained():
            self._autoencoder(item)
        _fresh_memory()
        clock = Clock(0, math.inf)  # the denoiser needs the whole set
        latents = self._latents(item, clock)
        clock.marks = [(at, patches * latents.mean.shape[1]) for at, patches in clock.marks]
        yield _rate("encoding", ENCODING, "views", clock)

    def denoiser(self, item: Item) -> Iterator[Rate]:
        with untrained():
            self._latents(item)
        _fresh_memory()
        clock = Clock(STEPS, self.seconds)
        with timed_training(clock):
            self._denoiser(item)
        yield _rate("denoiser training", self._method(item).diffusion.batch, "latents", clock)

    def sampling(self, item: Item) -> Iterator[Rate]:
        from specdm.stages import sample

        with untrained():
            self._denoiser(item)
        _fresh_memory()
        settings, clock, at = self._method(item).sampling, Clock(0, self.seconds), self._models(item)
        with timed_progress(sample, clock):
            sample.sample(at, at / "samples", at / "drawn", 1000 * settings.batch, settings, 0, "timing")
        yield _rate("sampling", settings.batch, "pairs", clock)

    def downstream(self, item: Item) -> Iterator[Rate]:
        from specdm.stages import downstream_fit
        from specdm.stages.training_set import Inputs

        patches, state = self._patches(item), self.folder / "state" / str(item)
        # Fetched weights change no speed.
        settings = self.config.downstream_of(item.name).model_copy(update={"encoder_weights": "none"})
        run = downstream_fit.Run(item.dataset, item.name, "real", Regime(real=1, synthetic=0), self._n_train(item))
        made = downstream_fit.read(run, Inputs(patches), settings, state)
        clock = Clock(STEPS, self.seconds)
        with timed_training(clock):
            network = downstream_fit.fit(made, settings, state, str(item)).network
        yield _rate("downstream training", settings.batch, "patches", clock)

        _fresh_memory()
        clock, done, device = Clock(1, self.seconds), count(1), next(network.parameters()).device
        with suppress(Enough), torch.no_grad():
            while True:
                for rows, _, _ in downstream_fit.predictions(network, made.held_out, made.normaliser, device):
                    clock.mark(next(done) * len(rows))
        yield _rate("downstream inference", downstream_fit.EVAL_BATCH, "patches", clock)

    def loading(self, item: Item) -> Iterator[Rate]:
        """Training batches of the downstream networks alone, without a network."""
        from specdm.patches import Normaliser, open_patches
        from specdm.stages.batches import Mixture
        from specdm.training import Part

        patches, settings, clock = open_patches(self._patches(item)), self.config.downstream, Clock(1, self.seconds)
        mixture, normaliser = Mixture([(patches, patches.ids("train"))]), Normaliser.fit(patches)
        strong = settings.strong if item.name == STRONG else None
        with suppress(Enough):
            for step in count():
                clock.mark(step * settings.batch)
                mixture.training_batch(Part(step), settings.batch, settings.augment, normaliser, 0, strong=strong)
        yield _rate("loading", settings.batch, "patches", clock)

    def teacher(self, item: Item) -> Iterator[Rate]:
        from specdm.stages.train_teacher import train_teacher

        settings, clock = self.config.datasets[item.dataset].teacher, Clock(STEPS, self.seconds)
        at = self.folder / str(item)
        with timed_training(clock):
            train_teacher(self._patches(item), at / "model", at / "state", settings, 0)
        yield _rate("teacher training", settings.batch, "patches", clock)

    def _method(self, item: Item) -> MethodSettings:
        return self.config.method(item.dataset, item.name)

    def _models(self, item: Item) -> Path:
        return self.folder / "models" / item.dataset / item.name

    def _n_train(self, item: Item) -> int:
        return N_TRAIN if self.config.datasets[item.dataset].prepare.patch_px < LARGE_PX else N_OTHER

    def _patches(self, item: Item) -> Path:
        dataset, folder = self.config.datasets[item.dataset], self.folder / "patches" / item.dataset
        if folder.exists():
            return folder
        splits = ["train"] * self._n_train(item) + ["val"] * N_OTHER + ["test"] * N_OTHER
        return patch_set(folder, 2 if dataset.task == "change" else 1, dataset.prepare.patch_px, splits)

    def _autoencoder(self, item: Item) -> Path:
        from specdm.stages.train_autoencoder import train_autoencoder

        at = self._models(item)
        if not (at / "autoencoder").exists():
            settings = self._method(item).autoencoder
            train_autoencoder(self._patches(item), at / "autoencoder", at / "state-autoencoder", settings, 0)
        return at / "autoencoder"

    def _latents(self, item: Item, clock: Clock | None = None):
        """The encoded patches; `clock`, when they are made here, times that."""
        from specdm.stages import encode

        at = self._models(item) / "latents"
        if not at.exists():
            model, settings = self._autoencoder(item), self._method(item).diffusion
            with timed_progress(encode, clock or Clock(0, math.inf)):
                encode.encode(self._patches(item), model, at, settings.augment, settings.swap_dates, ENCODING)
        return encode.open_latents(at)

    def _denoiser(self, item: Item) -> Path:
        from specdm.stages.train_diffusion import train_diffusion

        at = self._models(item)
        if not (at / "denoiser").exists():
            self._latents(item)
            train_diffusion(at / "latents", at / "denoiser", at / "state-denoiser", self._method(item).diffusion, 0)
        return at / "denoiser"


def _rate(what: str, batch: int, unit: str, clock: Clock) -> Rate:
    peak = torch.cuda.max_memory_allocated() / 2**30 if CUDA else None
    loading = clock.loading_s / clock.measured_s if clock.loading_s and clock.measured_s else None
    return Rate(what, batch, unit, clock.per_second, peak, clock.measured_s, loading, clock.note)


def _fresh_memory() -> None:
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def measure(workplace: Workplace, item: Item) -> Iterator[Rate]:
    """The rates of an item, as if nothing had run before it in this process."""
    # What was compiled for other sizes would make PyTorch compile for any size, which is slower.
    torch.compiler.reset()
    _fresh_memory()
    yield from getattr(workplace, item.stage)(item)
