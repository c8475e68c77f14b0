"""The table of scorers that say how masks fit images: see specdm.metrics.alignment for what a scorer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specdm.metrics.alignment import IGNORE, Scorer, Seen
from specdm.metrics.paired import mean_recall, miou_macro
from specdm.metrics.spectral import spectral_angle

N_LEVELS = 64  # of the magnitude of change, equally full in real data: the area under the curve is exact to about 1 %
STABLE = 0.95  # share of the unchanged real pixels that count as stable


@dataclass(frozen=True)
class ReadingAgreement:
    """Do masks say what models trained on real pairs read from the images?"""

    name: str
    title: str
    reader: str  # key of Seen.readings
    classes: int
    measure: Callable[[NDArray[np.float64]], NDArray[np.float64]]  # confusions (...,K,K) -> (...)

    def look(self, seen: Seen) -> NDArray[np.uint8]:
        return seen.readings[self.reader]

    def sums(self, maps: NDArray[np.uint8], masks: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, K*K): pixels by class of the mask and class that is read, over all readings."""
        n, k = len(masks), self.classes
        labelled = masks != IGNORE
        place = (np.arange(n)[:, None, None] * k + masks) * k
        counts = np.zeros(n * k * k)
        for r in range(maps.shape[1]):
            counts += np.bincount((place + maps[:, r])[labelled], minlength=n * k * k)
        return counts.reshape(n, -1)

    def score(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.measure(sums.reshape(*sums.shape[:-1], self.classes, self.classes))


# log( mean |x_p - x_q| over neighbours with different labels / the same over neighbours with equal labels )
@dataclass(frozen=True)
class BoundaryContrast:
    """Do spectra, or changes of spectra between two dates, jump where the label does? No model reads anything."""

    name: str = "boundary contrast"
    title: str = "log of how much more neighbours differ across a label's edge than within a label"

    def look(self, seen: Seen) -> NDArray[np.float32]:
        """(N,2,H,W): root mean square difference over the bands to the neighbour below, and to the right."""
        x = seen.images[:, -1] - seen.images[:, 0] if seen.images.shape[1] > 1 else seen.images[:, 0]
        edges = np.zeros((len(x), 2, *x.shape[-2:]), np.float32)
        edges[:, 0, :-1] = np.sqrt(np.square(np.diff(x, axis=2)).mean(1))
        edges[:, 1, :, :-1] = np.sqrt(np.square(np.diff(x, axis=3)).mean(1))
        return edges

    def sums(self, maps: NDArray[np.float32], masks: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N,4): sum and number of differences across edges, and within labels."""
        found = np.zeros((len(masks), 4))
        for strength, a, b in (
            (maps[:, 0, :-1], masks[:, :-1], masks[:, 1:]),
            (maps[:, 1, :, :-1], masks[:, :, :-1], masks[:, :, 1:]),
        ):
            labelled = (a != IGNORE) & (b != IGNORE)
            for i, where in enumerate((labelled & (a != b), labelled & (a == b))):
                found[:, 2 * i] += np.where(where, strength, 0).sum((1, 2), dtype=np.float64)
                found[:, 2 * i + 1] += where.sum((1, 2))
        return found

    def score(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        across, n_across, within, n_within = np.moveaxis(sums, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log((across / n_across) / (within / n_within))
        return np.where(np.isfinite(ratio), ratio, np.nan)


# AUC = P(magnitude at a changed pixel > at an unchanged one), ties counting half
@dataclass(frozen=True)
class ChangeSeparation:
    """Does the difference between the dates single out the pixels that the mask calls changed?"""

    name: str
    title: str
    magnitude: Callable[[Seen], NDArray[np.float32]]
    edges: NDArray[np.float64]  # ascending, between the levels of the magnitude

    def look(self, seen: Seen) -> NDArray[np.uint8]:
        return np.searchsorted(self.edges, self.magnitude(seen)).astype(np.uint8)[:, None]

    def sums(self, maps: NDArray[np.uint8], masks: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, 2*L): unchanged pixels by level of the magnitude, then changed ones."""
        n, levels = len(masks), len(self.edges) + 1
        labelled = masks != IGNORE
        place = (2 * np.arange(n)[:, None, None] + (masks > 0)) * levels + maps[:, 0]
        return np.bincount(place[labelled], minlength=2 * n * levels).reshape(n, -1).astype(np.float64)

    def score(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        unchanged, changed = np.split(sums, 2, axis=-1)
        below = np.cumsum(unchanged, -1) - unchanged / 2
        pairs = unchanged.sum(-1) * changed.sum(-1)
        return np.divide((changed * below).sum(-1), pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


@dataclass(frozen=True)
class StableBackground:
    """Do pixels that the mask calls unchanged stay as they are between the dates, as much as in real pairs?"""

    limit: float  # of the magnitude, below which STABLE of the unchanged real pixels lie
    magnitude: Callable[[Seen], NDArray[np.float32]]
    name: str = "stable background"
    title: str = f"share of unchanged pixels that change less than {STABLE:.0%} of those of real pairs"

    def look(self, seen: Seen) -> NDArray[np.bool_]:
        return (self.magnitude(seen) <= self.limit)[:, None]

    def sums(self, maps: NDArray[np.bool_], masks: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N,2): stable unchanged pixels, and all unchanged ones."""
        unchanged = masks == 0
        return np.stack([(unchanged & maps[:, 0]).sum((1, 2)), unchanged.sum((1, 2))], 1).astype(np.float64)

    def score(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        stable, every = np.moveaxis(sums, -1, 0)
        return np.divide(stable, every, out=np.full(every.shape, np.nan), where=every > 0)


# |x2 - x1| over standardised bands (change vector analysis)
def change_magnitude(seen: Seen) -> NDArray[np.float32]:
    """(N,H,W) root mean square difference of the standardised bands of the last and the first date."""
    return np.sqrt(np.square(seen.images[:, -1] - seen.images[:, 0]).mean(1))


def change_angle_rad(seen: Seen) -> NDArray[np.float32]:
    """(N,H,W) spectral angle between the last and the first date; 0 where a spectrum has no direction."""
    first, last = (np.moveaxis(seen.refl[:, t], 1, -1) for t in (0, -1))
    return np.nan_to_num(spectral_angle(first, last)).astype(np.float32)


def scorers(
    classes: int,
    magnitudes: NDArray[np.float32] | None = None,
    angles_rad: NDArray[np.float32] | None = None,
    unchanged: NDArray[np.bool_] | None = None,
) -> tuple[Scorer, ...]:
    """The table. Readers are "network" and "spectra"; scorers of change are there for two dates.

    Args:
        classes: K.
        magnitudes, angles_rad: (n,) of pixels of real pairs of two dates, to place the levels; None for one date.
        unchanged: (n,) whether these pixels are labelled as unchanged.
    """
    table: list[Scorer] = [
        ReadingAgreement(
            "network", "mIoU with what networks trained on real pairs read", "network", classes, miou_macro
        ),
        ReadingAgreement(
            "class spectra",
            "mean recall of what a Gaussian of each class's real spectra reads",
            "spectra",
            classes,
            mean_recall,
        ),
        BoundaryContrast(),
    ]
    if magnitudes is not None:
        levels = np.linspace(0, 1, N_LEVELS + 1)[1:-1]
        table += [
            ChangeSeparation(
                "change magnitude",
                "area under the curve of the magnitude of change against the mask",
                change_magnitude,
                np.unique(np.quantile(magnitudes, levels)),
            ),
            ChangeSeparation(
                "change angle",
                "area under the curve of the spectral angle between the dates against the mask",
                change_angle_rad,
                np.unique(np.quantile(angles_rad, levels)),
            ),
            StableBackground(float(np.quantile(magnitudes[unchanged], STABLE)), change_magnitude),
        ]
    return tuple(table)
