"""Writing a map of classes window by window."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import numpy as np

from specdm.rasters.files import Grid

BLOCK = 256  # side of the file's tiles in pixels


class LabelMap(contextlib.AbstractContextManager):
    """A GeoTIFF of class ids (uint8) on a grid, open for writing.

    Args:
        path: the file, overwritten.
        grid: where its pixels lie.
        palette: colours of the 256 possible ids, (256,3) uint8.
        names: names of the ids 0, 1, ...; stored as the tag "classes".
        nodata: the id of pixels without a class.
    """

    def __init__(self, path: Path, grid: Grid, palette: np.ndarray, names: tuple[str, ...], nodata: int):
        import rasterio

        profile = {"driver": "GTiff", "count": 1, "height": grid.height, "width": grid.width, "dtype": "uint8"}
        if grid.crs:
            profile |= {"crs": grid.crs, "transform": rasterio.Affine(*grid.transform)}
        if min(grid.height, grid.width) >= BLOCK:
            profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            self._target = rasterio.open(path, "w", compress="deflate", nodata=nodata, bigtiff="if_safer", **profile)
        self._target.write_colormap(1, {i: (*map(int, colour), 255) for i, colour in enumerate(palette)})
        self._target.update_tags(classes=", ".join(f"{i} {name}" for i, name in enumerate(names)))

    def write(self, row: int, col: int, ids: np.ndarray) -> None:
        """Write ids (h,w) uint8 at a place."""
        from rasterio.windows import Window

        self._target.write(ids, 1, window=Window(col, row, ids.shape[1], ids.shape[0]))

    def __exit__(self, *error: object) -> None:
        self._target.close()
