"""A raster looked up at the pixel centres of another grid, in any reference system: for codes, which have no means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from specdm.rasters.files import Grid
from specdm.rasters.ground import same_crs
from specdm.rasters.windowed import WindowedRaster

LATTICE_PX = 16  # coordinates are computed at one centre in so many and interpolated: exact to a millimetre
READ_BYTES = 64 << 20  # of the raster that are read at once


class SampledRaster:
    """Values of a raster at the centres of the pixels of a grid.

    Args:
        raster: open on its own grid, with a georeference.
        grid: with a georeference.
    """

    def __init__(self, raster: WindowedRaster, grid: Grid):
        import pyproj
        from rasterio import Affine

        self._raster, self._place = raster, Affine(*grid.transform)
        self._into = ~Affine(*raster.own.transform)
        systems = grid.crs, raster.own.crs
        same = same_crs(*systems)
        self._project = None if same else pyproj.Transformer.from_crs(*systems, always_xy=True).transform

    def read(self, row: int, col: int, height: int, width: int, bands: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Values (len(bands),height,width) of a window of the grid, and where the raster covers it (height,width) bool.

        Values are 0 where it does not.
        """
        rows, cols = self._pixels(row, col, height, width)
        inside = (rows >= 0) & (rows < self._raster.own.height) & (cols >= 0) & (cols < self._raster.own.width)
        out = np.zeros((len(bands), height, width), self._raster.dtype)
        if not inside.any():
            return out, inside
        top, left, bottom, right = _hull(rows[inside], cols[inside])
        if (bottom - top) * (right - left) * out.dtype.itemsize * len(bands) > READ_BYTES and width > 1:
            half = width // 2
            parts = [self.read(row, c, height, w, bands) for c, w in ((col, half), (col + half, width - half))]
            return tuple(np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
        read = self._raster.read(top, left, bottom - top, right - left, bands)
        out[:, inside] = read[:, rows[inside] - top, cols[inside] - left]
        return out, inside

    def _pixels(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Row and column (height,width) of the raster's pixel below each centre of a window."""
        along, across = _knots(height), _knots(width)
        x, y = _apply(self._place, *np.meshgrid(col + across + 0.5, row + along + 0.5))
        if self._project:
            x, y = self._project(x, y)
        found = _apply(self._into, np.asarray(x), np.asarray(y))
        # Beyond the reach of a projection coordinates are infinite: they lie in no pixel.
        col_at, row_at = (_between(np.where(np.isfinite(v), v, -1e9), along, across, height, width) for v in found)
        return np.floor(row_at).astype(np.int64), np.floor(col_at).astype(np.int64)


def _hull(rows: np.ndarray, cols: np.ndarray) -> tuple[int, int, int, int]:
    return int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1


def _knots(length: int) -> np.ndarray:
    """Positions from the first to the last pixel, LATTICE_PX apart at most."""
    return np.linspace(0, length - 1, max(2, -(-length // LATTICE_PX) + 1))


# x = a col + b row + c,  y = d col + e row + f
def _apply(t, col: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f


def _between(values: np.ndarray, along: np.ndarray, across: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation of values at knots (n,m) to every pixel (height,width)."""
    for axis, knots, length in ((0, along, height), (1, across, width)):
        at = np.arange(length) / max(knots[1] - knots[0], 1e-9)
        below = np.clip(at.astype(int), 0, len(knots) - 2)
        share = (at - below).reshape((-1, 1) if axis == 0 else (1, -1))
        values = np.take(values, below, axis) * (1 - share) + np.take(values, below + 1, axis) * share
    return values
