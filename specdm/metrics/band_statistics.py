"""Distributions of single bands and how bands go together: what mean spectra cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specdm.errors import UserError


class Bins(NamedTuple):
    """Bins of one width from low to high, in the values' unit."""

    low: float
    high: float
    number: int

    @property
    def width(self) -> float:
        return (self.high - self.low) / self.number


# Of 0.0005 (5 DN of Sentinel-2), far below the differences of interest; -0.2 to 2 holds what sensors measure, from
# overcorrected shadow to sunlit cloud.
REFL_BINS = Bins(-0.2, 2.0, 4400)
# The same for the difference of two dates.
CHANGE_BINS = Bins(-2.0, 2.0, 8000)


class BandStatistics:
    """Streaming histogram, mean, covariance and range of the valid pixels of a set; all dates and patches together.

    Args:
        bands: their number C.
        bins: of the histograms, B; what lies outside counts in the first or last one, see `outside`.

    Attributes:
        pixels: how many were seen, n.
        counts: (C,B) int64 histograms.
        mean: (C,) float64.
        scatter: (C,C) float64 sum of products of deviations from the mean.
        smallest, largest: (C,) the range.
        outside: (C,) int64 values outside the bins.
        negative, above_one: (C,) int64 values below 0 and above 1, which no reflectance of a matt surface has.
    """

    def __init__(self, bands: int, bins: Bins = REFL_BINS) -> None:
        if not (bins.low < bins.high and bins.number > 0):
            raise UserError(f"band statistics: {bins} are no bins; give low < high and how many.")
        self.bins = bins
        self.pixels = 0
        self.counts: NDArray[np.int64] = np.zeros((bands, bins.number), np.int64)
        self.mean: NDArray[np.float64] = np.zeros(bands)
        self.scatter: NDArray[np.float64] = np.zeros((bands, bands))
        self.smallest: NDArray[np.float64] = np.full(bands, np.inf)
        self.largest: NDArray[np.float64] = np.full(bands, -np.inf)
        self.outside, self.negative, self.above_one = (np.zeros(bands, np.int64) for _ in range(3))

    def update(self, refl: ArrayLike, valid: NDArray[np.bool_] | None = None) -> None:
        """Add reflectance (N,T,C,H,W) where it is valid (N,T,H,W). UserError for a valid value that is no number."""
        refl = np.moveaxis(np.asarray(refl), 2, 0)  # C N T H W
        if len(refl) != len(self.mean):
            raise UserError(f"band statistics: {len(refl)} bands instead of {len(self.mean)}; compare sets alike.")
        values = refl.reshape(len(refl), -1) if valid is None else refl[:, valid]  # C n
        if not np.isfinite(values).all():
            raise UserError("band statistics: a valid pixel is no finite number; mark such pixels as nodata.")
        if not values.shape[1]:
            return
        values = values.astype(np.float64)
        part = BandStatistics(len(values), self.bins)
        part.pixels = values.shape[1]
        part.smallest, part.largest = values.min(1), values.max(1)
        part.outside = ((values < self.bins.low) | (values > self.bins.high)).sum(1)
        part.negative, part.above_one = (values < 0).sum(1), (values > 1).sum(1)
        low, high, number = self.bins
        for counts, band in zip(part.counts, values, strict=True):
            # Clipped first: a far outlier has no place that an integer can hold.
            place = ((band.clip(low, high) - low) / self.bins.width).astype(np.int64)
            counts += np.bincount(place.clip(max=number - 1), minlength=number)
        part.mean = values.mean(1)
        values -= part.mean[:, None]
        part.scatter = values @ values.T
        self.merge(part)

    # M = Ma + Mb + d d^T na nb / (na + nb),  d = mean_b - mean_a  (Chan, Golub and LeVeque 1983)
    def merge(self, other: BandStatistics) -> None:
        """Add what another one has seen. UserError for other bins or bands."""
        _require_same_bins(self, other)
        if not other.pixels:
            return
        total = self.pixels + other.pixels
        shift = other.mean - self.mean
        self.scatter += other.scatter + np.outer(shift, shift) * (self.pixels * other.pixels / total)
        self.mean += shift * (other.pixels / total)
        self.pixels = total
        self.smallest = np.minimum(self.smallest, other.smallest)
        self.largest = np.maximum(self.largest, other.largest)
        for name in ("counts", "outside", "negative", "above_one"):
            getattr(self, name)[...] += getattr(other, name)


# W1 = integral |Fa(x) - Fb(x)| dx
def wasserstein(a: BandStatistics, b: BandStatistics) -> NDArray[np.float64]:
    """Wasserstein-1 distance (C,) of each band between two sets, in the values' unit (reflectance).

    Every value counts as its bin's middle, so that the error is at most the width of a bin, as long as no value is
    `outside`. UserError where a set is empty or the bins differ.
    """
    _require_alike(a, b)
    return np.abs(np.cumsum(a.counts / a.pixels - b.counts / b.pixels, axis=1)).sum(1) * a.bins.width


def correlations(of: BandStatistics, names: Sequence[str] | None = None) -> NDArray[np.float64]:
    """Pearson correlations (C,C) between bands over all pixels. UserError that names a band without contrast."""
    _require_pixels(of)
    constant = np.flatnonzero(of.smallest == of.largest)
    if len(constant):
        band = names[constant[0]] if names is not None else constant[0]
        raise UserError(f"correlations: band {band} has one value everywhere; leave it out of the bands.")
    deviation = np.sqrt(np.diag(of.scatter))
    return (of.scatter / np.outer(deviation, deviation)).clip(-1, 1)


def correlation_difference(a: BandStatistics, b: BandStatistics, names: Sequence[str] | None = None) -> float:
    """Mean absolute difference (0..2) of the correlations between different bands of two sets.

    UserError that names a band without contrast, or for a single band.
    """
    _require_alike(a, b)
    different = ~np.eye(len(a.mean), dtype=bool)
    if not different.any():
        raise UserError("correlations: a single band correlates with no other; skip this score.")
    return float(np.abs(correlations(a, names) - correlations(b, names))[different].mean())


@dataclass(frozen=True)
class ImpossibleShares:
    """Shares (0..1) of the values that are no reflectance of a matt surface; by band (C,), and of all bands."""

    negative: NDArray[np.float64]
    above_one: NDArray[np.float64]
    negative_all: float
    above_one_all: float


def impossible_shares(of: BandStatistics, level: str) -> ImpossibleShares:
    """Shares of values below 0 and above 1 in data of a level "TOA" or "BOA".

    Real data have some: overcorrected shadow, glint, cloud. A set stored as unsigned integers without an offset cannot
    hold negative values: there their absence says nothing. UserError for "unitless" data, whose values have no such
    bounds, and for an empty set.
    """
    _require_pixels(of)
    if level == "unitless":
        raise UserError("impossible values: unitless data have no physical bounds; give scale and level to have some.")
    negative, above = of.negative / of.pixels, of.above_one / of.pixels
    return ImpossibleShares(negative, above, float(negative.mean()), float(above.mean()))


def between_dates(refl: ArrayLike, valid: NDArray[np.bool_] | None = None) -> tuple[NDArray, NDArray[np.bool_] | None]:
    """Change x2 - x1 of pairs (N,2,C,H,W) as (N,1,C,H,W), and where both dates are valid (N,1,H,W).

    UserError for other than two dates.
    """
    refl = np.asarray(refl)
    if refl.shape[1] != 2:
        raise UserError(f"change between dates: {refl.shape[1]} dates instead of 2; skip this score.")
    return refl[:, 1:] - refl[:, :1], None if valid is None else valid.all(1, keepdims=True)


def _require_pixels(of: BandStatistics) -> None:
    if not of.pixels:
        raise UserError("band statistics: a set has no valid pixel; add patches.")


def _require_alike(a: BandStatistics, b: BandStatistics) -> None:
    _require_pixels(a)
    _require_pixels(b)
    _require_same_bins(a, b)


def _require_same_bins(a: BandStatistics, b: BandStatistics) -> None:
    if len(a.mean) != len(b.mean) or a.bins != b.bins:
        raise UserError("band statistics: other bands or bins; use the same for all sets.")
