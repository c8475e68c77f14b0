"""Kernel distance between feature sets: unbiased at any number of samples, with an interval from a bootstrap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specdm.errors import UserError
from specdm.metrics.frechet import checked_pair
from specdm.metrics.groups import bootstrap_weights, units

LEVEL = 0.95
BLOCK = 1024  # samples a side of a block of the kernel matrix: 8 MiB


@dataclass(frozen=True)
class KernelDistance:
    """A kernel distance, the bounds of its 95 % interval, and the number of samples on either side."""

    distance: float
    low: float
    high: float
    n: int
    m: int


# MMD^2 = mean over i != j of k(x_i, x_j) + the same of y - 2 mean over i, j of k(x_i, y_j)
# k(a, b) = (a.b / D + 1)^3
def kernel_distance(
    x: ArrayLike,
    y: ArrayLike,
    x_groups: ArrayLike | None = None,
    y_groups: ArrayLike | None = None,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> KernelDistance:
    """Unbiased squared MMD with the cubic kernel of features x (N,D) and y (M,D): KID (Binkowski et al. 2018).

    All pairs are used, in blocks, not random subsets. It estimates 0 for two draws of one distribution whatever N, and
    may be negative. The interval is a percentile bootstrap that draws samples with replacement, or with groups (N,)
    and (M,) whole groups, since patches of one place are not independent; a side of a single group draws samples.
    Drawn twice, a sample makes no pair with itself, nor a group with its own copy: such pairs are alike and would
    raise every draw. The distance itself keeps the pairs within a group. Where both sides are one distribution the
    interval is wider than it need be (the bootstrap of a degenerate U-statistic, Arcones & Gine 1992): without groups
    it then covers 0 more often than 95 % of the time.

    Raises:
        UserError: for fewer than 2 samples a side, unequal D, NaN or infinity, groups of another length, or so few
            samples that no draw has two different ones on each side.
    """
    x, y = (side.astype(np.float64, copy=False) for side in checked_pair(x, y, "kernel distance"))
    x_weights = _weights(len(x), x_groups, n_bootstrap, seed, 0)
    y_weights = _weights(len(y), y_groups, n_bootstrap, seed, 1)
    within = _mean_within(x, units(len(x), x_groups), x_weights) + _mean_within(y, units(len(y), y_groups), y_weights)
    distances = within - 2 * _mean_between(x, y, x_weights, y_weights)
    drawn = distances[1:][np.isfinite(distances[1:])]
    if not drawn.size:
        raise UserError(f"kernel distance: {len(x)} and {len(y)} samples are too few for an interval; add patches.")
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return KernelDistance(float(distances[0]), float(low), float(high), len(x), len(y))


def _weights(n: int, groups: ArrayLike | None, n_bootstrap: int, seed: int, side: int) -> NDArray[np.float64]:
    """How often each sample is taken, (n, 1 + n_bootstrap): once each, then in every draw."""
    return np.vstack([np.ones((1, n)), bootstrap_weights(n, groups, n_bootstrap, seed, side)]).T


# The pairs i != j of a group drawn w times count w times, those of two groups w v times.
def _mean_within(x: NDArray[np.float64], ids: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means (B,) of the kernel over pairs i != j of x; NaN in a draw without such pairs."""
    total = np.zeros(weights.shape[1])
    same = np.zeros(len(x))  # sum of the kernel over the sample's own group, itself included
    for rows in _blocks(len(x)):
        for columns in _blocks(len(x)):
            if columns.start < rows.start:
                continue  # the matrix is symmetric: those above the diagonal count for both
            kernel = _kernel(x[rows], x[columns])
            twice = 2 if columns.start > rows.start else 1
            total += twice * np.einsum("ib,ib->b", weights[rows], kernel @ weights[columns])
            own = np.where(ids[rows][:, None] == ids[columns], kernel, 0)
            same[rows] += own.sum(1)
            if twice == 2:
                same[columns] += own.sum(0)
    itself = (np.einsum("id,id->i", x, x) / x.shape[1] + 1) ** 3
    size = np.bincount(ids)[ids]
    pairs = weights.sum(0) ** 2 - size @ weights**2 + (size - 1) @ weights
    return _ratio(total - same @ weights**2 + (same - itself) @ weights, pairs)


def _mean_between(
    x: NDArray[np.float64], y: NDArray[np.float64], x_weights: NDArray[np.float64], y_weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted means (B,) of the kernel over all pairs of x and y."""
    total = np.zeros(x_weights.shape[1])
    for rows in _blocks(len(x)):
        for columns in _blocks(len(y)):
            total += np.einsum("ib,ib->b", x_weights[rows], _kernel(x[rows], y[columns]) @ y_weights[columns])
    return _ratio(total, x_weights.sum(0) * y_weights.sum(0))


def _kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    base = a @ b.T / a.shape[1] + 1
    return base * base * base  # a power of floats is far slower


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
