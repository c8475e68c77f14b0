"""Frechet distance between feature sets, without a matrix square root, and the floors that make it readable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specdm.errors import UserError


class SizedDistance(NamedTuple):
    """A Frechet distance and the number of samples on either side, without which it cannot be compared."""

    distance: float
    n: int


# FD = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))
def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Squared Frechet distance of the Gaussians fitted to features x (N, D) and y (M, D); float64, >= 0 (FID formula).

    With A = centred x / sqrt(N - 1) and B likewise, tr((S1 S2)^(1/2)) is the nuclear norm of A B^T when there are few
    samples, else the sum of the square roots of the eigenvalues of R S2 R with R = S1^(1/2). The estimate is biased
    upwards, strongly so for N near D or below: compare at equal N and beside a floor. UserError for fewer than 2
    samples, or unequal D.
    """
    x, y = _features(x), _features(y)
    if x.shape[1] != y.shape[1]:
        raise UserError(
            f"frechet distance: features of {x.shape[1]} and {y.shape[1]} dimensions; use one extractor for both."
        )
    shift = x.mean(0) - y.mean(0)
    a = (x - x.mean(0)) / np.sqrt(len(x) - 1)  # N D
    b = (y - y.mean(0)) / np.sqrt(len(y) - 1)  # M D
    if max(len(x), len(y)) <= x.shape[1]:
        cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    else:
        values, vectors = np.linalg.eigh(a.T @ a)
        root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
        cross = np.sqrt(np.linalg.eigvalsh(root @ (b.T @ b) @ root).clip(0)).sum()
    return float(max(0.0, shift @ shift + np.square(a).sum() + np.square(b).sum() - 2 * cross))


def equal_size_distance(x: ArrayLike, y: ArrayLike, n: int | None = None, seed: int = 0) -> SizedDistance:
    """Frechet distance with the same number of samples drawn without replacement from x and y: n, or all there are."""
    x, y = _features(x), _features(y)
    size = min(len(x), len(y), *([n] if n is not None else []))
    rng = np.random.default_rng([seed, 0])
    return SizedDistance(frechet_distance(_draw(x, size, rng), _draw(y, size, rng)), size)


def halves_floor(
    x: ArrayLike, groups: Sequence[object] | None = None, n: int | None = None, seed: int = 0
) -> SizedDistance:
    """Frechet distance between two disjoint halves of x (N, D): what two draws of the same data score at that size.

    With two or more groups (N,) no group stands in both halves: they go, largest first, to the smaller half. Each
    half gives n samples, or as many as the smaller one has. UserError where a half has fewer than 2.
    """
    x = _features(x)
    rng = np.random.default_rng([seed, 1])
    _, ids = np.unique(np.zeros(len(x)) if groups is None else np.asarray(groups), return_inverse=True)
    if ids.max() == 0:
        ids = np.arange(len(x))
    sizes = np.bincount(ids)
    order = rng.permutation(len(sizes))
    side, filled = np.zeros(len(sizes), dtype=int), [0, 0]
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        side[group] = int(filled[1] < filled[0])
        filled[side[group]] += sizes[group]
    size = int(min(*filled, *([n] if n is not None else [])))
    first, second = x[side[ids] == 0], x[side[ids] == 1]
    return SizedDistance(frechet_distance(_draw(first, size, rng), _draw(second, size, rng)), size)


def _features(x: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise UserError(
            f"frechet distance: needs at least 2 samples of D features a side, not {x.shape}; add more patches."
        )
    return x


def _draw(x: NDArray[np.float64], size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return x[rng.permutation(len(x))[:size]]
