"""Per-band scaling of reflectance, measured on a training split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specdm.errors import UserError
from specdm.patches.reader import PatchSet
from specdm.patches.values import valid_pixels


@dataclass(frozen=True)
class Normaliser:
    """Per-band scaling of reflectance to zero mean and unit variance, measured on a training split.

    ASSUME: the paper names no normalisation; a fixed invertible scale keeps spectral angles meaningful.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, patches: PatchSet, split: str = "train", chunk: int = 32) -> Normaliser:
        """Measure band means and standard deviations (reflectance) over the valid pixels of a split.

        Raises:
            UserError: when the split is empty or a band is constant.
        """
        bands = len(patches.meta.bands)
        n, total, squares = 0, np.zeros(bands), np.zeros(bands)  # of digital numbers: the scale is applied once, below
        positions = patches.ids(split)
        for start in range(0, len(positions), chunk):
            dn = patches.images[positions[start : start + chunk]]
            valid = valid_pixels(dn, patches.meta.nodata)
            n += int(valid.sum())
            for band in range(bands):
                values = (dn[:, :, band].ravel() if valid.all() else dn[:, :, band][valid]).astype(np.float64)
                total[band] += values.sum()
                squares[band] += values @ values
        if n == 0:
            raise UserError(f"{patches.folder}: the split {split!r} holds no valid pixel: check the raw data.")
        mean_dn = total / n
        std = np.sqrt(np.maximum(squares / n - mean_dn**2, 0)) * abs(patches.meta.scale)
        mean = mean_dn * patches.meta.scale + patches.meta.offset
        flat = [name for name, s in zip(patches.meta.bands, std, strict=True) if s < 1e-7]
        if flat:
            raise UserError(f"{patches.folder}: the band {flat[0]} is constant in {split!r}: drop it from the bands.")
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    def apply(self, refl: np.ndarray) -> np.ndarray:
        """Reflectance (...,C,H,W) -> standardised float32."""
        return (refl - self._column(self.mean)) / self._column(self.std)

    def invert(self, standardised: np.ndarray) -> np.ndarray:
        """Standardised (...,C,H,W) -> reflectance float32."""
        return standardised * self._column(self.std) + self._column(self.mean)

    @staticmethod
    def _column(values: tuple[float, ...]) -> np.ndarray:
        return np.asarray(values, np.float32)[:, None, None]
