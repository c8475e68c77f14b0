"""Frechet distance between feature sets, without a matrix square root, and the floors that make it readable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import blas, lapack

from specdm.errors import UserError
from specdm.metrics.groups import halves

ROWS = 512  # features centred at once: 8 MiB of 2048 dimensions


class SizedDistance(NamedTuple):
    """A Frechet distance and the number of samples on either side, without which it cannot be compared."""

    distance: float
    n: int


class FeatureMoments:
    """Number, mean and covariance of features that come in batches; memory O(D^2), whatever their number.

    Every batch is centred on its own mean and merged by the rule of Chan, Golub and LeVeque (1979), so that means far
    from zero cancel nothing: S = Sa + Sb + na nb / (na + nb) d d^T with d the difference of the means.

    Args:
        dimensions: D.

    Attributes:
        n: samples seen.
        mean: (D,) float64; zeros before the first sample.
    """

    def __init__(self, dimensions: int) -> None:
        self.n = 0
        self.mean: NDArray[np.float64] = np.zeros(dimensions)
        # The lower triangle only, in the order of Fortran: BLAS then adds a batch in place, which small batches need.
        self._scatter: NDArray[np.float64] = np.zeros((dimensions, dimensions), order="F")

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(D,D) float64, divided by n - 1; UserError for fewer than 2 samples."""
        lower = self.lower_covariance()
        both = lower + lower.T
        np.fill_diagonal(both, np.diagonal(lower))
        return both

    def lower_covariance(self) -> NDArray[np.float64]:
        """The covariance with zeros above its diagonal, for LAPACK."""
        if self.n < 2:
            raise UserError(f"feature moments: needs at least 2 samples, not {self.n}; add more patches.")
        return self._scatter / (self.n - 1)

    def update(self, x: ArrayLike) -> None:
        """Add features (n,D), n >= 0; UserError for another shape, NaN or infinity."""
        x = checked_features(x, "feature moments", at_least=0)
        if x.shape[1] != len(self.mean):
            raise _unequal("feature moments", x.shape[1], len(self.mean))
        for start in range(0, len(x), ROWS):
            part = x[start : start + ROWS]
            rows = np.empty((len(part) + 1, x.shape[1]))
            rows[:-1] = part
            mean = rows[:-1].mean(0)
            rows[:-1] -= mean
            rows[-1] = self._shift(len(part), mean)  # one product then adds both terms
            self._merge(len(part), mean, rows)

    def __add__(self, other: FeatureMoments) -> FeatureMoments:
        """The moments of both sets together, as if one had seen all; UserError for unequal D."""
        if len(other.mean) != len(self.mean):
            raise _unequal("feature moments", len(self.mean), len(other.mean))
        both = FeatureMoments(len(self.mean))
        both.n, both.mean, both._scatter = self.n, self.mean, self._scatter + other._scatter
        if other.n:
            both._merge(other.n, other.mean, both._shift(other.n, other.mean)[None])
        return both

    def _shift(self, n: int, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        return (n * self.n / (n + self.n)) ** 0.5 * (mean - self.mean)

    def _merge(self, n: int, mean: NDArray[np.float64], rows: NDArray[np.float64]) -> None:
        self._scatter = blas.dsyrk(1.0, rows.T, beta=1.0, c=self._scatter, overwrite_c=1, lower=1)
        self.n += n
        self.mean = self.mean + n / self.n * (mean - self.mean)


# FD = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))
def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Squared Frechet distance of the Gaussians fitted to features x (N,D) and y (M,D); float64, >= 0 (FID formula).

    With no more samples than dimensions, A = centred x / sqrt(N - 1) and B likewise, tr((S1 S2)^(1/2)) is the nuclear
    norm of A B^T; with more it is that of `frechet_from_moments`. The estimate is biased upwards, strongly so for N
    near D or below: compare at equal N and beside a floor. UserError for fewer than 2 samples, unequal D, NaN or
    infinity.
    """
    x, y = checked_pair(x, y, "frechet distance")
    if max(len(x), len(y)) > x.shape[1]:
        moments = FeatureMoments(x.shape[1]), FeatureMoments(y.shape[1])
        for side, features in zip(moments, (x, y), strict=True):
            side.update(features)
        return frechet_from_moments(*moments)
    x_mean, y_mean = (side.mean(0, dtype=np.float64) for side in (x, y))
    shift = x_mean - y_mean
    a = (x - x_mean) / np.sqrt(len(x) - 1)  # N D
    b = (y - y_mean) / np.sqrt(len(y) - 1)  # M D
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(max(0.0, shift @ shift + np.square(a).sum() + np.square(b).sum() - 2 * cross))


# S1 = L L^T  =>  tr((S1 S2)^(1/2)) = sum of the square roots of the eigenvalues of L^T S2 L, symmetric and >= 0
def frechet_from_moments(a: FeatureMoments, b: FeatureMoments) -> float:
    """Squared Frechet distance of the Gaussians with the moments of two feature sets; float64, >= 0.

    L is a Cholesky factor with pivots and as many columns as the rank: it stands also where there are fewer samples
    than dimensions, and costs a fraction of a square root by eigenvectors. UserError for fewer than 2 samples, or
    unequal D.
    """
    if len(a.mean) != len(b.mean):
        raise _unequal("frechet distance", len(a.mean), len(b.mean))
    first, second = sorted((a, b), key=lambda moments: moments.n)  # fewer samples, perhaps a smaller rank
    small, large = first.lower_covariance(), second.covariance
    traces = np.trace(small) + np.trace(large)
    factor, pivots, rank, _ = lapack.dpstrf(small, lower=1, overwrite_a=1)
    factor[:, rank:] = 0
    order = pivots - 1  # the factor is that of S1 with rows and columns in this order
    within, _ = lapack.dsygst(large[np.ix_(order, order)].T, factor, itype=2, lower=1, overwrite_a=1)
    cross = np.sqrt(np.linalg.eigvalsh(within).clip(0)).sum()  # of the lower triangle, the only one that is set
    shift = a.mean - b.mean
    return float(max(0.0, shift @ shift + traces - 2 * cross))


def equal_size_distance(x: ArrayLike, y: ArrayLike, n: int | None = None, seed: int = 0) -> SizedDistance:
    """Frechet distance with the same number of samples drawn without replacement from x and y: n, or all there are."""
    x, y = checked_pair(x, y, "frechet distance")
    size = min(len(x), len(y), *([n] if n is not None else []))
    rng = np.random.default_rng([seed, 0])
    return SizedDistance(frechet_distance(_draw(x, size, rng), _draw(y, size, rng)), size)


def halves_floor(
    x: ArrayLike, groups: Sequence[object] | None = None, n: int | None = None, seed: int = 0
) -> SizedDistance:
    """Frechet distance between two disjoint halves of x (N, D): what two draws of the same data score at that size.

    The halves share no group (N,), see `groups.halves`. Each gives n samples, or as many as the smaller one has.
    UserError where a half has fewer than 2.
    """
    x = checked_features(x, "frechet distance")
    first = halves(len(x), groups, seed)
    size = int(min(first.sum(), (~first).sum(), *([n] if n is not None else [])))
    rng = np.random.default_rng([seed, 1])
    return SizedDistance(frechet_distance(_draw(x[first], size, rng), _draw(x[~first], size, rng)), size)


def checked_features(x: ArrayLike, what: str, at_least: int = 2) -> NDArray[np.floating]:
    """Features (N,D) in their own floating-point type, so that many need no copy.

    UserError, which `what` begins, for fewer than at_least samples, another shape, NaN or infinity.
    """
    x = np.asarray(x)
    x = x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)
    if x.ndim != 2 or len(x) < at_least:
        raise UserError(
            f"{what}: needs at least {at_least} samples of D features a side, not {x.shape}; add more patches."
        )
    if not np.isfinite(x).all():
        bad = int(np.flatnonzero(~np.isfinite(x).all(1))[0])
        raise UserError(f"{what}: sample {bad} has a feature that is NaN or infinite; mend its image or the extractor.")
    return x


def checked_pair(
    x: ArrayLike, y: ArrayLike, what: str, at_least: int = 2
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Features of two sets, (N,D) and (M,D), as `checked_features`; UserError also for unequal D."""
    x, y = checked_features(x, what, at_least), checked_features(y, what, at_least)
    if x.shape[1] != y.shape[1]:
        raise _unequal(what, x.shape[1], y.shape[1])
    return x, y


def _unequal(what: str, first: int, second: int) -> UserError:
    return UserError(f"{what}: features of {first} and {second} dimensions; use one extractor for both.")


def _draw(x: NDArray[np.floating], size: int, rng: np.random.Generator) -> NDArray[np.floating]:
    return x[rng.permutation(len(x))[:size]]
