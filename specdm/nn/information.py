"""Pointwise information of a denoiser between a latent and what it is told, cell by cell (arXiv 2310.07972)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from specdm.nn.diffusion import Denoise, NoiseSchedule, add_noise, alpha_bar, target

LOWEST_LOG_SNR = -8.0  # below it a cell of Z channels of unit variance holds less than Z e^-8 / 2 nats


def information_levels(schedule: NoiseSchedule, n: int) -> tuple[Tensor, Tensor]:
    """Steps (L,) int64 evenly spread in log-SNR, and the width in log-SNR that each stands for, (L,) float64.

    The steps are those nearest to the middles of n equal parts of the schedule's range, above LOWEST_LOG_SNR; L < n
    where some coincide. The widths add up to the range.
    """
    logs = torch.logit(alpha_bar(schedule))
    logs = logs[logs >= min(LOWEST_LOG_SNR, float(logs[0]))]
    low, high = float(logs[-1]), float(logs[0])
    middles = low + (high - low) * (torch.arange(n, dtype=torch.float64) + 0.5) / n
    steps = (logs[:, None] - middles).abs().argmin(0).unique()
    borders = (logs[steps][1:] + logs[steps][:-1]) / 2
    edges = torch.cat([logs.new_tensor([high]), borders, logs.new_tensor([low])])
    return steps, edges[:-1] - edges[1:]


# log p(x|y) / p(x) = 1/2 int E[ |e - e^(z_a)|^2 - |e - e^(z_a, y)|^2 ] da,   a = log SNR
# |e - e^|^2 = SNR |x - x^|^2 = abar |v - v^|^2
@torch.no_grad()
def pointwise_information(
    told: Denoise,
    untold: Denoise,
    clean: Tensor,
    noise_of: Callable[[int], Tensor],
    schedule: NoiseSchedule,
    n_levels: int,
) -> Tensor:
    """Nats (N, h, w) float32 that y, which one denoiser is told, tells of each cell of x; negative: speaks against it.

    The identity of arXiv 2310.07972 at single x and y, its squared error summed over the channels of a cell. Both
    denoisers meet the same noise, so that most of its chance cancels. Errors of v become errors of the noise by a
    factor: nothing is divided by a small signal.

    Args:
        told, untold: predictions with and without y, as the schedule says.
        clean: x (N, Z, h, w).
        noise_of: level number 0, 1, ... -> standard normal noise of that shape.
        schedule: of the noise; its range of log-SNR is integrated over.
        n_levels: of the sum that stands for the integral.
    """
    steps, widths = information_levels(schedule, n_levels)
    weights = widths / 2
    if schedule.prediction == "v":
        weights = weights * alpha_bar(schedule)[steps]
    total = torch.zeros_like(clean[:, 0], dtype=torch.float64)
    for i, (step, weight) in enumerate(zip(steps.tolist(), weights.tolist(), strict=True)):
        t, noise = torch.full((len(clean),), step, device=clean.device), noise_of(i)
        z = add_noise(clean, t, noise, schedule)
        without, with_y = untold(z, t).float(), told(z, t).float()
        wanted = target(clean, t, noise, schedule)
        gain = (without - with_y) * (without + with_y - 2 * wanted)  # difference of the squared errors
        total += weight * gain.sum(1).double()
    return total.float()
