"""The spectra of some of the pixels that are written, and whether they contradict the declared bands and offset."""

from __future__ import annotations

import numpy as np

from specdm.labels import LabelSet
from specdm.patches import valid_pixels
from specdm.sources.plausibility import BandStatistics, strange_classes, strange_offsets, strange_order
from specdm.sources.scene_bands import SceneBands
from specdm.sources.scene_declared import Quantity

LOOKED_AT = 200_000  # pixels of a set whose spectra are looked at, about
DARK_LOOKED_AT = 50_000  # pixels of a scene among which the darkest are looked for, about
DARKEST = 1  # per cent


class SpectraSeen:
    """A look at patches on their way into a set; its memory is bounded whatever their number.

    Args:
        bands: what the channels are.
        labels: the classes of the masks.
        nodata: of the images.
        labelled: look at the labelled pixels of the first date only; else at all that hold data.
        n_pixels: how many there will be in all, about.
    """

    def __init__(self, bands: SceneBands, labels: LabelSet, nodata: float | None, labelled: bool, n_pixels: int):
        self._bands, self._names, self._nodata, self._labelled = bands, labels.names, nodata, labelled
        self._every = max(1, n_pixels // LOOKED_AT)  # of the pixels, one in so many is looked at
        self._statistics = BandStatistics(len(bands.names))
        self._sums = np.zeros((len(labels), len(bands.names)))
        self._counts = np.zeros((len(labels), 1))
        self._pairs: list[np.ndarray] = []  # of the scene that is being written, (P,2,C) each
        self._every_pair = 1
        self._darkest_dn: dict[str, np.ndarray] = {}

    def begin(self, n_pixels: int) -> None:
        """A scene of about so many pixels comes next."""
        self._pairs, self._every_pair = [], max(1, n_pixels // DARK_LOOKED_AT)

    def update(self, images: np.ndarray, masks: np.ndarray) -> None:
        """Take patches (n,T,C,H,W) as stored, and their ids (n,H,W)."""
        if not self._bands.sentinel2:
            return
        valid = valid_pixels(images, self._nodata)  # n T H W
        patch, row, col = _some(masks < len(self._names) if self._labelled else valid[:, 0], self._every)
        spectra = images[patch, 0, :, row, col].astype(np.float64)  # P C
        self._statistics.update(spectra.T)
        if self._labelled:
            ids = masks[patch, row, col]
            np.add.at(self._sums, ids, spectra)
            self._counts[:, 0] += np.bincount(ids, minlength=len(self._counts))
        if images.shape[1] == 2:
            patch, row, col = _some(valid.all(axis=1), self._every_pair)
            self._pairs.append(images[patch, :, :, row, col])

    def end(self, scene: str) -> None:
        """The scene is written."""
        if sum(map(len, self._pairs)):
            self._darkest_dn[scene] = np.percentile(np.concatenate(self._pairs), DARKEST, axis=0)
        self._pairs = []

    def sentences(self, quantity: Quantity) -> list[str]:
        """What is strange, if anything; bands of other sensors than Sentinel-2 are not judged."""
        if not self._bands.sentinel2:
            return []
        with np.errstate(invalid="ignore"):
            means = (self._sums / self._counts) * quantity.scale + quantity.offset
        found = [
            *strange_order(self._bands.names, self._statistics.correlation()),
            *strange_classes(self._names, means, self._bands.names),
        ]
        if quantity.level != "unitless":
            darkest = {name: dn * quantity.scale + quantity.offset for name, dn in self._darkest_dn.items()}
            found += strange_offsets(self._bands.names, darkest)
        return found


def _some(where: np.ndarray, every: int) -> tuple[np.ndarray, ...]:
    """Patch, row and column of one in `every` of the pixels `where` (n,H,W) is true."""
    return np.unravel_index(np.flatnonzero(where)[::every], where.shape)
