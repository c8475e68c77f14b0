"""Mean spectra of classes, patch by patch: mSAD with an interval and its floor, and their spread for pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specdm.errors import UserError
from specdm.metrics.groups import bootstrap_weights, halves, units
from specdm.metrics.spectral import patch_sums, spectral_angle

LEVEL = 0.95


@dataclass(frozen=True)
class PatchSpectra:
    """Compact sums of N patches, from which the mean spectra of any choice of patches follow.

    Attributes:
        sums: (N,K,C) float64 sums of the values of each class's pixels.
        counts: (N,K) int64 numbers of these pixels.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        refl: ArrayLike,
        masks: ArrayLike,
        classes: int,
        ignore: int = 255,
        valid: NDArray[np.bool_] | None = None,
    ) -> PatchSpectra:
        """Of some patches, reflectance (N,T,C,H,W) and masks (N,H,W); see `specdm.metrics.spectral.patch_sums`."""
        return cls(*patch_sums(refl, masks, classes, ignore, valid))

    @classmethod
    def joined(cls, parts: Iterable[PatchSpectra]) -> PatchSpectra:
        """The patches of all parts, in order."""
        parts = list(parts)
        return cls(np.concatenate([p.sums for p in parts]), np.concatenate([p.counts for p in parts]))

    def __getitem__(self, chosen: NDArray) -> PatchSpectra:
        """Some of the patches: positions or a mask (N,)."""
        return PatchSpectra(self.sums[chosen], self.counts[chosen])

    def __len__(self) -> int:
        return len(self.counts)


@dataclass(frozen=True)
class SpectralAngles:
    """Angles in radians between the class means of two sets, and the interval around each.

    Attributes:
        classes: ids of the J classes that were compared.
        excluded: ids of those with too few pixels in either set.
        sad_rad, sad_low_rad, sad_high_rad: (J,) angle of each class and its interval.
        msad_rad, msad_low_rad, msad_high_rad: their mean over classes and its interval.
        units: (J,) the fewest patches or groups that hold the class on a side: an interval from few of them is narrow
            for that alone.
    """

    classes: tuple[int, ...]
    excluded: tuple[int, ...]
    sad_rad: NDArray[np.float64]
    sad_low_rad: NDArray[np.float64]
    sad_high_rad: NDArray[np.float64]
    msad_rad: float
    msad_low_rad: float
    msad_high_rad: float
    units: NDArray[np.int64]


# mSAD = mean over classes of SAD(mean spectrum of class in a, mean spectrum of class in b)
def msad_interval(
    a: PatchSpectra,
    b: PatchSpectra,
    groups_a: Sequence[object] | None = None,
    groups_b: Sequence[object] | None = None,
    min_pixels: int = 100,
    n_bootstrap: int = 500,
    seed: int = 0,
) -> SpectralAngles:
    """Mean spectral angle between the class means of two sets (paper Sec. 4.2) with 95 % percentile intervals.

    A mean spectrum is one over all pixels of the set. Every draw takes the groups of both sets with replacement (the
    patches, where a set has one group or none is given). Draws without a pixel of a compared class say nothing of that
    class nor of the mean. Drawing adds noise and noise adds angle: intervals lie high, and are to be read beside
    `msad_floor`. A class with fewer than min_pixels in either set is excluded.

    Raises:
        UserError: where no class can be compared, or a set holds fewer than 2 patches.
    """
    classes, excluded, angles = _compared(a, b, min_pixels)
    drawn = []
    for stream, (spectra, groups) in enumerate(((a, groups_a), (b, groups_b))):
        weights = bootstrap_weights(len(spectra), groups, n_bootstrap, seed, stream)
        drawn.append(np.tensordot(weights, spectra.sums[:, classes], axes=1))  # draws J C
    draws = spectral_angle(*drawn)  # draws J
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    complete = draws[~np.isnan(draws).any(1)]
    if not len(complete):
        raise UserError("mSAD: no draw of groups holds every compared class; raise n_bootstrap or min_pixels.")
    low, high = np.nanquantile(draws, tails, axis=0)
    mean_low, mean_high = np.quantile(complete.mean(1), tails)
    held = [_holding(s, groups)[classes] for s, groups in ((a, groups_a), (b, groups_b))]
    return SpectralAngles(
        classes=tuple(classes),
        excluded=tuple(excluded),
        sad_rad=angles,
        sad_low_rad=low,
        sad_high_rad=high,
        msad_rad=float(angles.mean()),
        msad_low_rad=float(mean_low),
        msad_high_rad=float(mean_high),
        units=np.minimum(*held),
    )


@dataclass(frozen=True)
class SpectralFloor:
    """Angles in radians between the class means of two halves of one set.

    Attributes:
        classes: ids of the J classes that both halves hold.
        excluded: ids of the others.
        sad_rad: (J,) angles.
        msad_rad: their mean.
    """

    classes: tuple[int, ...]
    excluded: tuple[int, ...]
    sad_rad: NDArray[np.float64]
    msad_rad: float


def msad_floor(
    real: PatchSpectra, groups: Sequence[object] | None = None, min_pixels: int = 100, seed: int = 0
) -> SpectralFloor:
    """mSAD of two disjoint halves of one set, no group in both: what unlike places of the same data score.

    UserError where no class has min_pixels in both halves.
    """
    first = halves(len(real), groups, seed)
    classes, excluded, angles = _compared(real[first], real[~first], min_pixels)
    return SpectralFloor(tuple(classes), tuple(excluded), angles, float(angles.mean()))


@dataclass(frozen=True)
class Profile:
    """A class's mean spectrum (C,) over all pixels, and the 10th and 90th percentile (C,) of the means of n patches."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: int


def profile(spectra: PatchSpectra, of: int, at_least: int = 10) -> Profile:
    """Mean spectrum of class `of` and its spread over those patches that hold `at_least` pixels of it.

    UserError where no patch holds that many.
    """
    counts = spectra.counts[:, of]
    enough = counts >= at_least
    if not enough.any():
        raise UserError(f"spectra: no patch holds {at_least} pixels of class {of}; add more patches.")
    means = spectra.sums[enough, of] / counts[enough, None]
    low, high = np.quantile(means, [0.1, 0.9], axis=0)
    return Profile(spectra.sums[:, of].sum(0) / counts.sum(), low, high, int(enough.sum()))


def _compared(a: PatchSpectra, b: PatchSpectra, min_pixels: int) -> tuple[list[int], list[int], NDArray[np.float64]]:
    """Ids of the J classes with enough pixels, ids of the others, and the angles (J,) of the former."""
    if a.sums.shape[1:] != b.sums.shape[1:]:
        raise UserError(
            f"mSAD: {a.sums.shape[1:]} and {b.sums.shape[1:]} classes and bands; compare sets of the same bands."
        )
    enough = np.minimum(a.counts.sum(0), b.counts.sum(0)) >= max(min_pixels, 1)
    if not enough.any():
        raise UserError(f"mSAD: no class has {min_pixels} pixels in both sets; add patches or lower min_pixels.")
    classes = np.flatnonzero(enough).tolist()
    angles = spectral_angle(*(s.sums.sum(0)[classes] for s in (a, b)))  # of sums as of means: only directions matter
    if np.isnan(angles).any():
        undirected = classes[int(np.flatnonzero(np.isnan(angles))[0])]
        raise UserError(f"mSAD: the mean spectrum of class {undirected} is 0 in every band; check scale and offset.")
    return classes, np.flatnonzero(~enough).tolist(), angles


def _holding(spectra: PatchSpectra, groups: Sequence[object] | None) -> NDArray[np.int64]:
    """How many groups, or patches, hold each class: (K,)."""
    ids = units(len(spectra), groups)
    return np.stack([np.bincount(ids, weights=present) > 0 for present in (spectra.counts > 0).T]).sum(1)
