"""Differences of paired trainings, with an interval that holds both sources of chance: test groups and trainings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specdm.errors import UserError

Score = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # counts (...,K,K), rows the true class -> (...)
LEVEL = 0.95
CHUNK = 2**22  # numbers that a set of draws may hold: 32 MiB


@dataclass(frozen=True)
class Difference:
    """Mean difference of pairs and the interval around it; NaN where it is undefined."""

    mean: float
    low: float
    high: float


def paired_difference(
    ours: NDArray[np.int64],
    base: NDArray[np.int64],
    score: Score,
    n: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
) -> Difference:
    """How much better some trainings score than others they are paired with.

    The difference is the mean over pairs of score(sum over groups of ours) - score(sum over groups of base). Its
    interval is a percentile bootstrap: every draw takes groups with replacement, the same for both sides and all
    pairs, and pairs with replacement. With one pair only groups are drawn, with one group only pairs; with one of
    each there is no interval. Pairs and draws whose score is undefined are left out.

    Args:
        ours, base: (R,G,K,K) pixels of R pairs in G test groups, true class x predicted class.
        score: from counts (...,K,K) float64 to (...).
        n: draws.
        seed: of the draws.
        level: share of the draws within the interval.

    Raises:
        UserError: for unequal shapes.
    """
    if ours.shape != base.shape:
        raise UserError(
            f"differences: counts {ours.shape} and {base.shape} differ in shape; pair trainings and groups."
        )
    runs, groups, classes = ours.shape[:3]

    def differences(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return _scores(ours, weights, score) - _scores(base, weights, score)

    mean = float(_mean(differences(np.ones((1, groups))), np.ones((1, runs)))[0])
    if runs == groups == 1:
        return Difference(mean, np.nan, np.nan)
    of_groups, of_runs = np.random.default_rng(seed).spawn(2)
    chunk = max(1, CHUNK // max(groups, runs, classes**2))
    parts = []
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        drawn = differences(_resampled(of_groups, size, groups))
        parts.append(_mean(drawn, _resampled(of_runs, size, runs)))
    values = np.concatenate(parts)
    values = values[~np.isnan(values)]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]) if values.size else (np.nan, np.nan)
    return Difference(mean, float(low), float(high))


# The scores have the conventions of segmentation.ConfusionMatrix: a class in neither labels nor predictions is NaN and
# left out of means.
def miou_macro(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean IoU over all classes of counts (...,K,K): (...)."""
    return _mean_of_classes(_ious(counts))


def mf1_macro(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean F1 over all classes of counts (...,K,K): (...)."""
    return _mean_of_classes(_f1s(counts))


def iou(counts: NDArray[np.float64], of: int) -> NDArray[np.float64]:
    """IoU of class `of` of counts (...,K,K): (...)."""
    return _ious(counts)[..., of]


def f1(counts: NDArray[np.float64], of: int) -> NDArray[np.float64]:
    """F1 of class `of` of counts (...,K,K): (...)."""
    return _f1s(counts)[..., of]


def mean_recall(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean recall over the classes that occur in the labels of counts (...,K,K): (...); chance is 1 / K."""
    return _mean_of_classes(_ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1)))


def _ious(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    return _ratio(hit, counts.sum(-1) + counts.sum(-2) - hit)


def _f1s(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return _ratio(2 * np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1) + counts.sum(-2))


def _mean_of_classes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return _mean(values, np.ones_like(values))


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean over the last axis of what is defined, NaN where nothing is."""
    known = ~np.isnan(values)
    return _ratio((weights * np.where(known, values, 0)).sum(-1), (weights * known).sum(-1))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole != 0)


def _scores(counts: NDArray[np.int64], weights: NDArray[np.float64], score: Score) -> NDArray[np.float64]:
    """Scores (n,R) of counts (R,G,K,K) summed over groups with the weights (n,G); a run at a time, to spare memory."""
    shape = (len(weights), *counts.shape[2:])
    flat = counts.reshape(*counts.shape[:2], -1)
    return np.stack([score((weights @ run.astype(np.float64)).reshape(shape)) for run in flat], axis=1)


def _resampled(rng: np.random.Generator, n: int, size: int) -> NDArray[np.float64]:
    """How often each of `size` things is taken when as many are drawn with replacement, n times: (n,size)."""
    drawn = rng.integers(size, size=(n, size)) + size * np.arange(n)[:, None]
    return np.bincount(drawn.ravel(), minlength=n * size).reshape(n, size).astype(np.float64)
