"""What a denoiser can be told beside the noisy latent: class fractions of the mask, and the order of two dates."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_FRACTION = 1e-4  # fractions below it are as good as none; a class of two pixels in 128 x 128


def condition_width(classes: int) -> int:
    """Length of the vector that `encode_condition` makes for masks of `classes` classes."""
    return 2 * classes + 2


# [f_1..f_K, 1 + log(max(f, 1e-4)) / log(1e4) ..., known, swapped]
def encode_condition(fractions: Tensor, swapped: Tensor | None = None) -> Tensor:
    """Vectors (N, 2K+2) float32, all values 0..1, of class fractions (N, K) that sum to 1 and date orders (N,) bool.

    Fractions enter twice, as they are and by their logarithm, because 0.1 % and 1 % of a rare class are far apart. A
    row of NaN asks for nothing: its fractions are zero and its flag `known` is down. `swapped` None: dates in order.
    """
    known = ~fractions.isnan().any(1, keepdim=True)
    fractions = torch.where(known, fractions, 0.0).float()
    scale = torch.log(torch.tensor(LEAST_FRACTION))
    logs = 1 - fractions.clamp_min(LEAST_FRACTION).log() / scale
    order = torch.zeros_like(known) if swapped is None else swapped.view(-1, 1)
    return torch.cat([fractions, logs, known, order], dim=1).float()


def class_fractions(counts: Tensor) -> Tensor:
    """Fractions (N, K) float32 of labelled pixel counts (N, K); NaN in rows without any label."""
    counts = counts.double()
    total = counts.sum(1, keepdim=True)
    return torch.where(total > 0, counts / total.clamp_min(1), torch.nan).float()


def ask(training: Tensor, want: dict[int, float], picks: Tensor, nearest: int = 32) -> Tensor:
    """Class fractions (n, K) to ask for, each like those of a training patch, with some classes as wanted.

    Args:
        training: fractions (N, K) of the training patches; rows of NaN are left out.
        want: class -> fraction; empty: the distribution of the training patches.
        picks: (n,) in [0, 1): which training patch each sample follows, in the order of their contents, so that
            evenly spread picks have the distribution of the training patches also when they are few.
        nearest: with `want`, how many of the training patches nearest to it are followed, so that the other classes
            are those that go with the wanted ones; their fractions are scaled to fill what is left.
    """
    known = training[~training.isnan().any(1)]
    if not len(known):
        return torch.full((len(picks), training.shape[1]), torch.nan)
    if want:
        classes, wanted = list(want), torch.tensor(list(want.values()))
        known = known[(known[:, classes] - wanted).abs().sum(1).argsort(stable=True)[:nearest]]
    known = known[_by_content(known)]
    asked = known[(picks * len(known)).long().clamp_max(len(known) - 1)].clone()
    if want:
        asked[:, classes] = 0
        # A patch of wanted classes only says nothing about the rest: then the mean of the others fills it.
        mean = known.clone()
        mean[:, classes] = 0
        mean = mean.mean(0)
        if mean.sum() == 0:
            mean = torch.ones_like(mean)
            mean[classes] = 0
        asked = torch.where(asked.sum(1, keepdim=True) > 0, asked, mean)
        left = 1 - wanted.sum()
        asked = asked * (left / asked.sum(1, keepdim=True).clamp_min(1e-12))
        asked[:, classes] = wanted
    return asked


def _by_content(fractions: Tensor) -> Tensor:
    """An order of rows (N, K) in which neighbours are alike: by their largest class, then by its fraction."""
    largest, which = fractions.max(1)
    return (which + largest.double() / 2).argsort(stable=True)  # a fraction is at most 1: classes do not mix
