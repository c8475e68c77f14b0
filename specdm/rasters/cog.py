"""Writing a large image as a cloud-optimised GeoTIFF, strip by strip."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from specdm import files
from specdm.rasters.annotated import Annotations, describe
from specdm.rasters.files import Grid

BLOCK = 512  # side of the file's tiles in pixels; strips of as many rows are written fastest


class CogWriter(contextlib.AbstractContextManager):
    """A new image; the file appears complete when the block ends, and not at all when it raises.

    Args:
        path: the file.
        grid: where its pixels lie.
        dtype: of its pixels.
        about: its bands, by name, and what else it says of its pixels.
    """

    def __init__(self, path: Path, grid: Grid, dtype: np.dtype | str, about: Annotations):
        self._path, self._grid, self._dtype, self._about = path, grid, np.dtype(dtype), about
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> CogWriter:
        import rasterio

        with contextlib.ExitStack() as stack:
            self._final = stack.enter_context(files.new_file(self._path))
            self._plain = self._final.with_suffix(".plain.tif")
            stack.callback(self._plain.unlink, missing_ok=True)
            target = rasterio.open(
                self._plain,
                "w",
                driver="GTiff",
                height=self._grid.height,
                width=self._grid.width,
                count=len(self._about.bands),
                dtype=self._dtype,
                crs=self._grid.crs,
                transform=rasterio.Affine(*self._grid.transform),
                nodata=self._about.nodata,
                tiled=True,
                blockxsize=BLOCK,
                blockysize=BLOCK,
                interleave="band",  # and uncompressed: overviews are made from it three times as fast
                bigtiff="if_safer",
            )
            self._target = stack.enter_context(target)
            describe(self._target, self._about)
            self._stack = stack.pop_all()
        return self

    def write(self, row: int, col: int, pixels: np.ndarray) -> None:
        """Write pixels (C,h,w) at a place."""
        from rasterio.windows import Window

        self._target.write(pixels, window=Window(col, row, pixels.shape[2], pixels.shape[1]))

    def __exit__(self, *error: object) -> bool | None:
        try:
            if error[0] is None:
                self._finish()
        except BaseException as failure:
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        return self._stack.__exit__(*error)

    def _finish(self) -> None:
        import rasterio.shutil

        self._target.close()
        halvings = [2**k for k in range(1, 16) if max(self._grid.height, self._grid.width) >= BLOCK * 2 ** (k - 1)]
        # Means of pixels with and without data would be neither: the nearest pixel stands for its neighbours.
        with rasterio.open(self._plain, "r+") as plain:
            plain.build_overviews(halvings, rasterio.enums.Resampling.nearest)
        options = {"compress": "deflate", "level": 1, "predictor": 2, "blocksize": BLOCK, "bigtiff": "if_safer"}
        rasterio.shutil.copy(self._plain, self._final, driver="COG", **options)


def why_not(path: Path, count: int, height: int, width: int) -> str:
    """Why a raster file is not what was asked for (count,height,width), "" when it is; reads all of it."""
    import rasterio
    from rasterio.windows import Window

    try:
        with rasterio.open(path) as source:
            if (source.height, source.width, source.count) != (height, width, count):
                had = f"{source.count} x {source.height} x {source.width}"
                return f"an image of {had} instead of {count} x {height} x {width}"
            for row in range(0, height, BLOCK):
                source.read(window=Window(0, row, width, min(BLOCK, height - row)))
    except rasterio.errors.RasterioError:
        return "no image, or a damaged one"
    return ""
