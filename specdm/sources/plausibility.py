"""Are declared bands and offset of Sentinel-2 plausible? Judged by spectra, and answered with sentences to warn with.

A list of bands or an offset that does not fit its files looks fine everywhere else: nothing fails, and every result is
wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from specdm.sources.class_words import DENIED, TREES, WATER, words_of
from specdm.sources.scene_report import some_names

# Neighbours within a region of the spectrum see nearly the same thing. B01, B09 and B10 are left out: 60 m pixels and
# the air decide what they resemble. B08 has a region but no neighbour: its pixels are finer than those of B8A.
_REGION = dict(B02=0, B03=0, B04=0, B06=1, B07=1, B08=1, B8A=1, B11=2, B12=2)
_NEIGHBOURS = (("B02", "B03"), ("B03", "B04"), ("B06", "B07"), ("B07", "B8A"), ("B11", "B12"))
# A band beside a region, the end of the region that it resembles more, and the end that it resembles less.
_BESIDE = (("B05", "B04", "B02"), ("B8A", "B11", "B12"), ("B08", "B11", "B12"))
# ASSUME: larger excesses of correlation mean a mistake. Over 55 real scenes in their true order (OSCD, and single
# scenes of flood, coast, forest and cloud) the largest are 0.006 and -0.011; windows of open sea may exceed them.
_REGION_MARGIN, _BESIDE_MARGIN = 0.05, 0.03

# Bands with dark pixels in nearly every scene. B01 and B09 are too coarse for them, B10 sees none of the ground.
DARK_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A")
_INFRARED = {"B06", "B07", "B08", "B8A"}
# A step of 0.1 (1000 numbers of 1e-4) in all of these bands at once, to within this margin, is taken for the offset of
# baseline 04.00. Haze brightens blue more than infrared, seasons infrared more than blue: none of the 24 pairs of OSCD
# has a step of more than 0.025 in all bands.
_STEP, _STEP_MARGIN = 0.1, 0.05

_VEGETATION = TREES | {"vegetation"}
_HIDDEN = {"ice", "snow", "cloud", "clouds", "shadow", "shadows", "bank", "banks"}  # something else is seen


class BandStatistics:
    """Means of products over a stream of pixels, for the correlation between bands.

    Attributes:
        n: pixels taken so far.
    """

    def __init__(self, channels: int) -> None:
        self.n = 0
        self._origin: np.ndarray | None = None
        self._sum = np.zeros(channels)
        self._products = np.zeros((channels, channels))

    def update(self, pixels: np.ndarray) -> None:
        """Take pixels (C,P) of any real type and scale; those with a value that is not finite are left out."""
        pixels = np.asarray(pixels, np.float64)
        pixels = pixels[:, np.isfinite(pixels).all(axis=0)]
        if not pixels.shape[1]:
            return
        if self._origin is None:
            # Sums of distances from any one pixel lose no digits, and those of a constant band are exactly 0.
            self._origin = pixels[:, :1].copy()
        pixels = pixels - self._origin
        self.n += pixels.shape[1]
        self._sum += pixels.sum(axis=1)
        self._products += pixels @ pixels.T

    def correlation(self) -> np.ndarray:
        """Pearson correlation (C,C) float64 in -1..1; NaN in the rows and columns of constant bands."""
        with np.errstate(invalid="ignore", divide="ignore"):
            scatter = self._products - np.outer(self._sum, self._sum) / self.n
            deviation = np.sqrt(np.diag(scatter))
            return np.clip(scatter / np.outer(deviation, deviation), -1, 1)


def strange_order(bands: Sequence[str], correlation: np.ndarray) -> list[str]:
    """Sentences on correlations that contradict the declared band order; none when all is plausible.

    Neighbours within a region of the spectrum must resemble each other more than bands of other regions. Sets of
    three visible bands, and mistakes that keep neighbours together, such as red and blue exchanged beside one near
    infrared band, cannot be judged so. Meant for whole scenes with land; over open sea little can be said.

    Args:
        bands: declared names; others than Sentinel-2's are ignored.
        correlation: (C,C) in the same order, as `BandStatistics.correlation` gives.
    """
    at = {name: i for i, name in enumerate(bands) if name in _REGION or name == "B05"}
    picks = list(at.values())
    if len(at) < 3 or not np.isfinite(correlation[np.ix_(picks, picks)]).all():
        return []

    def alike(one: str, other: str) -> float:
        return float(correlation[at[one], at[other]])

    found = []  # (band, its neighbour, the band that it resembles more)
    for pair in _NEIGHBOURS:
        far = [name for name in at if name in _REGION and _REGION[name] != _REGION[pair[0]]]
        if far and set(pair) <= at.keys():
            one, stranger = max(((p, f) for p in pair for f in far), key=lambda names: alike(*names))
            if alike(one, stranger) - alike(*pair) > _REGION_MARGIN:
                found.append((one, pair[one == pair[0]], stranger))
    for one, near, stranger in _BESIDE:
        if {one, near, stranger} <= at.keys() and alike(one, stranger) - alike(one, near) > _BESIDE_MARGIN:
            found.append((one, near, stranger))
    return [
        f"{one} resembles {stranger} (correlation {alike(one, stranger):.2f}) more than its neighbour {near} "
        f"({alike(one, near):.2f}): check the declared order of the bands."
        for one, near, stranger in found
    ]


def strange_classes(class_names: Sequence[str], spectra: np.ndarray, bands: Sequence[str]) -> list[str]:
    """Sentences on class means that contradict the declared band order; none when all is plausible.

    Classes are recognised by English words in their names: vegetation must be brighter in the near infrared than in
    red, water must not be brighter in B12 than in B02.

    Args:
        class_names: K names; those that speak of neither or both, or deny it ("no water"), are not judged.
        spectra: (K,C) means on any one scale; NaN is not judged.
        bands: C declared names; others than Sentinel-2's are ignored.
    """
    at = {name: i for i, name in enumerate(bands)}
    infrared = next((name for name in ("B8A", "B08") if name in at), None)
    found = []
    for name, mean in zip(class_names, spectra, strict=True):
        words = words_of(name)
        if words & (DENIED | _HIDDEN) or (words & _VEGETATION and words & WATER):
            continue
        if words & _VEGETATION and infrared and "B04" in at and mean[at[infrared]] < mean[at["B04"]]:
            found.append(
                f"The class {name} is darker in {infrared} than in B04: check the declared order of the bands."
            )
        if words & WATER and {"B02", "B12"} <= at.keys() and mean[at["B12"]] > mean[at["B02"]]:
            found.append(f"The class {name} is brighter in B12 than in B02: check the declared order of the bands.")
    return found


def strange_offsets(bands: Sequence[str], darkest: Mapping[str, np.ndarray]) -> list[str]:
    """A sentence on scenes of which one date seems to carry the offset of processing baseline 04.00, the other not.

    Where the darkest pixels of all visible and near infrared bands differ by about 0.1 between the dates, an offset is
    likelier than weather or season, which do not change all bands alike. Fewer than three of these bands, or none in
    the near infrared, are not judged: haze brightens the visible ones alone.

    Args:
        bands: C declared names; others than Sentinel-2's are ignored.
        darkest: for each scene the 1st percentile of both dates in every band, (2,C) reflectance.
    """
    picks = [i for i, name in enumerate(bands) if name in DARK_BANDS]
    if len(picks) < 3 or not {bands[i] for i in picks} & _INFRARED:
        return []
    found = []
    for name, (first, second) in darkest.items():
        step = (second - first)[picks]
        if (np.abs(np.abs(step) - _STEP) < _STEP_MARGIN).all() and abs(np.sign(step).sum()) == len(step):
            found.append(f"{name} ({'first' if step[0] < 0 else 'second'} date, by {np.abs(step).mean():.2f})")
    if not found:
        return []
    return [
        f"The darkest pixels of one date are brighter in every band in {some_names(found)}: check whether it alone has "
        "the offset of processing baseline 04.00, which adds 1000 to Sentinel-2 numbers."
    ]
