"""Noisy latents: what a step of the denoiser needs, in training and on validation patches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from specdm.nn.conditions import encode_condition
from specdm.nn.diffusion import LossForm, NoiseSchedule, log_snr, sample_losses
from specdm.nn.streams import CLEAN, Streams, by_channel, fractions_may_be_told
from specdm.randomness import torch_generator
from specdm.settings import DiffusionSettings
from specdm.stages.encode import Latents

N_HELD_OUT = 256  # validation latents, each at one fixed noise level
ONE_IN = 4  # of them looked at in each conditional


class NoisyBatch(NamedTuple):
    """What a step of the denoiser needs: clean latents and noise (N,Z,h,w), levels, condition (N,D) or None.

    levels: steps (N,), or a level of each stream (N,S), see specdm.nn.streams.
    """

    clean: torch.Tensor
    levels: torch.Tensor
    noise: torch.Tensor
    condition: torch.Tensor | None

    def loss(
        self, model, schedule: NoiseSchedule, form: LossForm, streams: Streams, device: torch.device
    ) -> torch.Tensor:
        """Loss of every sample, (N,)."""
        clean, levels, noise, condition = (
            x if x is None else x.to(device, non_blocking=True)
            for x in (self.clean, self.levels, self.noise, self.condition)
        )
        if levels.ndim == 1:
            return sample_losses(lambda z, t: model(z, t, condition), clean, levels, noise, schedule, form)
        told, t = log_snr(levels, schedule), by_channel(levels, streams.channels)
        return sample_losses(lambda z, _: model(z, told, condition), clean, t, noise, schedule, form)


def noisy(
    latents: Latents,
    streams: Streams,
    rows: np.ndarray,
    views: np.ndarray,
    levels: np.ndarray,
    noises: torch.Tensor,
    tells: np.ndarray | None,
) -> NoisyBatch:
    """Some patches in some views at their levels, with noises (N,2,Z,h,w) of the posterior and of the diffusion.

    The denoiser is told their class fractions where `tells`, and the order of dates; nothing if None. What is given is
    the mean of the posterior, as in sampling.
    """
    levels, of_posterior = torch.from_numpy(levels), noises[:, 0]
    if levels.ndim == 2:
        of_posterior = of_posterior * (by_channel(levels, streams.channels) != CLEAN)[..., None, None]
    condition = None
    if tells is not None:
        fractions = torch.where(torch.from_numpy(tells)[:, None], latents.fractions[rows], torch.nan)
        condition = encode_condition(fractions, latents.swapped[views])
    return NoisyBatch(latents.draw(rows, views, of_posterior), levels, noises[:, 1], condition)


def held_out(
    latents: Latents, settings: DiffusionSettings, streams: Streams, seed: int, told: bool
) -> dict[str, list[NoisyBatch]]:
    """Validation latents with noise and levels that stay the same: what makes their loss comparable between steps.

    "held_out": one level for all streams. Where they have their own, also "held_out_given_X" of each conditional.
    """
    n_train, n_val = latents.meta["n_train"], latents.meta["n_val"]
    rows, views = np.resize(np.arange(n_train, n_train + n_val), N_HELD_OUT), np.zeros(N_HELD_OUT, np.int64)
    steps = np.linspace(0, settings.n_steps - 1, N_HELD_OUT).astype(np.int64)
    generator = torch_generator(seed, "train-diffusion", "held-out")
    noises = torch.randn((2, N_HELD_OUT, *latents.meta["shape"]), generator=generator).transpose(0, 1)

    def batches(chosen: np.ndarray, given: frozenset[str]) -> list[NoisyBatch]:
        found = []
        for part in np.array_split(chosen, -(-len(chosen) // max(1, settings.batch // settings.accumulate))):
            levels, tells = steps[part], np.full(len(part), settings.conditioning)
            if settings.levels == "streams":
                levels = np.where(streams.chosen(given).numpy(), CLEAN, levels[:, None])
                tells &= fractions_may_be_told(levels, streams, settings.n_steps)
            found.append(
                noisy(latents, streams, rows[part], views[part], levels, noises[part], tells if told else None)
            )
        return found

    every = np.arange(N_HELD_OUT)
    looks = {"held_out": batches(every, frozenset())}
    if settings.levels == "streams":
        some = every[::ONE_IN]
        names = {given: "_".join(name for name in streams.names if name in given) for given in streams.conditionals}
        looks |= {f"held_out_given_{name}": batches(some, given) for given, name in names.items()}
    return looks
