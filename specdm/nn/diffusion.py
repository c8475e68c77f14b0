"""Diffusion on latents: noise schedule, what the denoiser learns, its loss, and sampling (paper Sec. 3.2, Eq. 3-4)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from specdm.errors import UserError
from specdm.nn import backbones
from specdm.nn.streams import CLEAN

LARGEST_LOG_SNR = 12.0  # that a denoiser is told; the schedules' first steps are near 6.5
STEP_POWER = 1.25  # of 1, 1.25 and 1.5 the closest to an exact solution at 20 and 25 steps (docs/presets.md)
Denoise = Callable[[Tensor, Tensor], Tensor]  # (z_t (N,Z,h,w), t (N,) or (N,Z) int64) -> prediction (N,Z,h,w)


@dataclass(frozen=True)
class NoiseSchedule:
    """Variance-preserving schedule z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) noise, t = 0..n_steps-1.

    kind "scaled_linear" is linear in sqrt(beta): what LDM's code calls "linear", with the paper's 0.0015 to 0.0155;
    "linear" is the plain ramp. zero_terminal_snr rescales so that the last step is pure noise (arXiv 2305.08891),
    which only the v prediction can learn. snr_scale multiplies the signal-to-noise ratio of every step, see
    `snr_scale_for`. prediction: what the denoiser returns, see `target`.
    """

    n_steps: int = 1000  # ASSUME: the number is lost in the paper's text; LDM uses 1000 everywhere
    beta_start: float = 0.0015
    beta_end: float = 0.0155
    kind: Literal["scaled_linear", "linear"] = "scaled_linear"  # ASSUME: the paper says "linear" and follows LDM
    zero_terminal_snr: bool = False
    snr_scale: float = 1.0
    prediction: Literal["v", "epsilon"] = "v"

    def __post_init__(self) -> None:
        if self.kind not in ("scaled_linear", "linear"):
            raise UserError(f"schedule: kind must be 'scaled_linear' or 'linear', not {self.kind!r}.")
        if self.prediction not in ("v", "epsilon"):
            raise UserError(f"schedule: prediction must be 'v' or 'epsilon', not {self.prediction!r}.")
        if self.zero_terminal_snr and self.prediction == "epsilon":
            raise UserError(
                "schedule: zero_terminal_snr leaves no signal in the last step, from which noise cannot be told apart; "
                "use prediction 'v' or switch it off."
            )


# mean of n pixels: its noise falls with 1/sqrt(n), so equal SNR of large shapes asks for SNR_side = SNR (size/side)^2
# on larger latents, k = min(1, (size/side)^2)
def snr_scale_for(side: int, shift_size: int | None) -> float:
    """Factor of the signal-to-noise ratio on latents of `side` pixels for a schedule meant for shift_size (1 if None).

    The same noise hides the average over a larger latent less; simple diffusion (arXiv 2301.11093, Eq. 3). Smaller
    latents keep the schedule: less noise would leave fewer of the levels at which small shapes are decided.
    """
    return 1.0 if shift_size is None else min(1.0, (shift_size / side) ** 2)


# beta_t = (sqrt(b0) + t/(T-1) (sqrt(b1) - sqrt(b0)))^2,   abar_t = prod_{s<=t} (1 - beta_s),
# then SNR = abar / (1 - abar) is scaled by k:   abar -> k abar / (1 + (k - 1) abar)
@lru_cache(maxsize=16)
def alpha_bar(schedule: NoiseSchedule) -> Tensor:
    """abar_t, the share of signal variance left at step t: float64 (n_steps,), falling; treat it as read-only."""
    start, end = schedule.beta_start, schedule.beta_end
    if schedule.kind == "scaled_linear":
        beta = torch.linspace(start**0.5, end**0.5, schedule.n_steps, dtype=torch.float64, device="cpu").square()
    else:
        beta = torch.linspace(start, end, schedule.n_steps, dtype=torch.float64, device="cpu")
    signal = (1 - beta).cumprod(0).sqrt()
    if schedule.zero_terminal_snr:  # arXiv 2305.08891, algorithm 1: shift the last to 0, keep the first
        signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    abar, k = signal.square(), schedule.snr_scale
    return k * abar / (1 + (k - 1) * abar)


@lru_cache(maxsize=16)
def _level_alpha_bar(schedule: NoiseSchedule) -> Tensor:
    """abar of the levels CLEAN, 0, ..., n_steps (specdm.nn.streams): float64 (n_steps + 2,), from 1 to 0."""
    abar = alpha_bar(schedule)
    return torch.cat([abar.new_ones(1), abar, abar.new_zeros(1)])


# log SNR = log(abar / (1 - abar)), within +-12
def log_snr(levels: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Log signal-to-noise ratio of levels of any shape, float32: what a denoiser with streams is told of each."""
    table = torch.logit(_level_alpha_bar(schedule)).clamp(-LARGEST_LOG_SNR, LARGEST_LOG_SNR)
    return table.float().to(levels.device)[levels + 1]


# z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) e
def add_noise(z0: Tensor, t: Tensor, noise: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Noisy latents (N, Z, h, w) of clean ones with standard normal noise, float32 (paper Eq. 3).

    t: the level of each sample (N,), or of each of its channels (N, Z); so it is in all functions below.
    """
    signal, sigma = _signal_sigma(t, schedule)
    return signal * z0.float() + sigma * noise.float()


# v = sqrt(abar_t) e - sqrt(1 - abar_t) z_0    or    e
def target(z0: Tensor, t: Tensor, noise: Tensor, schedule: NoiseSchedule) -> Tensor:
    """What the denoiser should return at z_t: v (arXiv 2202.00512, App. D) or the noise; float32 (N, Z, h, w)."""
    if schedule.prediction == "epsilon":
        return noise.float()
    signal, sigma = _signal_sigma(t, schedule)
    return signal * noise.float() - sigma * z0.float()


# z_0 = sqrt(abar_t) z_t - sqrt(1 - abar_t) v    or    (z_t - sqrt(1 - abar_t) e) / sqrt(abar_t)
def to_x0(prediction: Tensor, z_t: Tensor, t: Tensor, schedule: NoiseSchedule) -> Tensor:
    """The clean latent (N, Z, h, w) that a prediction at z_t stands for, float32."""
    signal, sigma = _signal_sigma(t, schedule)
    if schedule.prediction == "epsilon":
        return (z_t.float() - sigma * prediction.float()) / signal
    return signal * z_t.float() - sigma * prediction.float()


@dataclass(frozen=True)
class LossForm:
    """How errors are weighed: over noise levels (see `loss_weights`), and by their norm."""

    weighting: Literal["none", "min_snr"] = "none"
    norm: Literal["l1", "l2"] = "l2"
    gamma: float = 5.0
    min_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.weighting not in ("none", "min_snr"):
            raise UserError(f"diffusion loss: weighting must be 'none' or 'min_snr', not {self.weighting!r}.")
        if self.norm not in ("l1", "l2"):
            raise UserError(f"diffusion loss: norm must be 'l1' or 'l2', not {self.norm!r}.")


# w_t = min(SNR, g) / (SNR + 1) for v,   min(SNR, g) / SNR for the noise,   SNR = abar / (1 - abar)
@lru_cache(maxsize=16)
def loss_weights(schedule: NoiseSchedule, form: LossForm) -> Tensor:
    """Weight of each step in the loss, float64 (n_steps,): ones, or min-SNR-gamma (arXiv 2303.09556); read-only.

    The v form is the noise form seen through z_0: both weigh the squared error of z_0 by min(SNR, gamma). It goes to
    0 with the SNR, so that together with zero_terminal_snr the first sampling steps, which set the radiometry, would
    hardly be trained: no step weighs less than min_weight.
    """
    abar = alpha_bar(schedule)
    if form.weighting == "none":
        return torch.ones_like(abar)
    snr = abar / (1 - abar)
    weights = snr.clamp_max(form.gamma) / (snr + 1 if schedule.prediction == "v" else snr)
    return weights.clamp_min(form.min_weight)


def sample_losses(
    denoise: Denoise, z0: Tensor, t: Tensor, noise: Tensor, schedule: NoiseSchedule, form: LossForm
) -> Tensor:
    """Loss of every sample, float32 (N,): the weighted mean over its noisy latent values of |error| or its square.

    The error is that of `denoise` against `target`. Channels that are clean or nothing but noise have no loss; a sample
    without others has none. With fixed t and noise these are comparable between checkpoints: the held-out loss.
    Paper Eq. 4.
    """
    error = denoise(add_noise(z0, t, noise, schedule), t).float() - target(z0, t, noise, schedule)
    values = (error.abs() if form.norm == "l1" else error.square()).flatten(2).mean(2)  # N Z
    levels = t.view(len(t), -1).expand_as(values)
    noisy = (levels > CLEAN) & (levels < schedule.n_steps)
    weights = loss_weights(schedule, form).float().to(t.device)[levels.clamp(0, schedule.n_steps - 1)] * noisy
    return (values * weights).sum(1) / noisy.sum(1).clamp_min(1)


# e = e(untold) + g (e(told) - e(untold))
def guided(told: Denoise, untold: Denoise, guidance: float) -> Denoise:
    """A denoiser with classifier-free guidance (arXiv 2207.12598), of one that is told and one that is not.

    guidance 1 asks, 0 does not, and both take one evaluation a step; others two.
    """
    if guidance in (0, 1):
        return told if guidance else untold

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        without = untold(z, t)
        return without + guidance * (told(z, t) - without)

    return denoise


# t_k = (T - 1) (k / (n - 1))^1.25,   k = n - 1 ... 0
def sampling_steps(n_train_steps: int, n_steps: int) -> list[int]:
    """Descending training steps that a sampler of n_steps visits, from the last trained one to the first.

    Ending at step 0, with shorter strides towards it, matters: from the last step visited a solver jumps to the mean
    of what is possible there, and detail that the noise still hides is lost.
    """
    if not 1 <= n_steps <= n_train_steps:
        raise UserError(f"sampling: the number of steps must be 1 to {n_train_steps}, not {n_steps}.")
    if n_steps == 1:
        return [n_train_steps - 1]
    places = [(k / (n_steps - 1)) ** STEP_POWER * (n_train_steps - 1) for k in range(n_steps)]
    return [max(round(place), k) for k, place in enumerate(places)][::-1]  # strictly falling also when all are visited


@torch.no_grad()
def sample_latents(
    denoise: Denoise,
    noise: Tensor,
    schedule: NoiseSchedule,
    sampler: Literal["ddpm", "ddim", "dpm++"] = "dpm++",
    n_steps: int = 25,
    step_noise: Callable[[int], Tensor] | None = None,
) -> Tensor:
    """Clean latents (N, Z, h, w), float32, from standard normal noise of that shape; nothing is ever clipped.

    `ddim` and `dpm++` are functions of the noise alone. `ddpm` also calls step_noise(i) for standard normal noise of
    the same shape after step i = 0..n_steps-2, so a sample keeps its own randomness in any batch. UserError for an
    unknown sampler, a step count out of range, or `ddpm` without step_noise.
    """
    if sampler not in backbones.SAMPLERS:
        raise UserError(f"sampling: unknown sampler {sampler!r}; choose one of {', '.join(backbones.SAMPLERS)}.")
    if sampler == "ddpm" and step_noise is None:
        raise UserError("sampling: the ddpm sampler draws noise at every step; pass step_noise.")
    steps = sampling_steps(schedule.n_steps, n_steps)
    solver = backbones.scheduler(sampler, steps, alpha_bar(schedule), schedule.prediction)
    z = noise.float()
    for i, step in enumerate(steps):
        prediction = denoise(z, torch.full((z.shape[0],), step, device=z.device)).float()
        fresh = None
        if sampler == "ddpm":  # the last step lands on clean data and needs none
            fresh = step_noise(i).to(z) if i + 1 < n_steps else torch.zeros_like(z)
        z = solver.step(prediction, step, z, variance_noise=fresh).prev_sample
    return z


def sample_noise(seed: int, indices: Sequence[int], shape: Sequence[int], draw: int = 0) -> Tensor:
    """Standard normal noise (N, *shape), float32 on the CPU; row k depends only on (seed, indices[k], draw) and shape.

    Draw 0 is the start of sampling; `lambda i: sample_noise(seed, indices, shape, i + 1)` serves as step_noise.
    """
    rows = []
    for index in indices:
        digest = hashlib.sha256(f"specdm noise {seed} {index} {draw}".encode()).digest()
        generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little", signed=True))
        rows.append(torch.randn(tuple(shape), generator=generator, device="cpu"))
    return torch.stack(rows)


def _signal_sigma(t: Tensor, schedule: NoiseSchedule) -> tuple[Tensor, Tensor]:
    """sqrt(abar_t) and sqrt(1 - abar_t), each float32 (N, 1, 1, 1) or (N, Z, 1, 1) on the device of t."""
    abar = _level_alpha_bar(schedule)
    both = torch.stack([abar.sqrt(), (1 - abar).sqrt()]).float().to(t.device)[:, t.view(len(t), -1) + 1]  # 2 N 1|Z
    return both[0][..., None, None], both[1][..., None, None]
