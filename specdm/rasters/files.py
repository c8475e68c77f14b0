"""Whole raster files, and the index of a patch set as GeoParquet."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm.errors import UserError


@dataclass(frozen=True)
class Raster:
    """Pixels (C,H,W) in the file's type, with its CRS text and affine coefficients (empty without georeference)."""

    pixels: np.ndarray
    crs: str
    transform: tuple[float, ...]


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie: its size in pixels, CRS text and affine coefficients (empty without)."""

    height: int
    width: int
    crs: str
    transform: tuple[float, ...]


def read(path: Path) -> Raster:
    """Read a whole raster file; single-band pages of a multi-page TIFF are stacked on the first axis.

    Raises:
        UserError: when it is missing, damaged or truncated.
    """
    with open_file(path) as source:
        pixels = source.read()
        if source.count == 1 and len(source.subdatasets) > 1:
            # rasterio lists the pages in the order of their names: 1, 10, 11, ..., 2.
            pages = [f"GTIFF_DIR:{k + 1}:{path}" for k in range(len(source.subdatasets))]
            pixels = np.concatenate([_read_page(page) for page in pages])
        grid = grid_of(source)
        return Raster(pixels, grid.crs, grid.transform)


def read_grid(path: Path) -> Grid:
    """Read only the header of a raster file; errors as in `read`."""
    with open_file(path) as source:
        return grid_of(source)


@contextlib.contextmanager
def open_file(path: Path) -> Iterator:
    """An open rasterio data set; errors as in `read`."""
    import rasterio

    if not path.is_file():
        what = "is a folder, no raster file" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}: check the folder and the file name.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                _check_complete(source, path)
                yield source
    except rasterio.errors.RasterioError as error:
        raise UserError(f"{path} cannot be read, it is damaged or not a raster: fetch it again.") from error


def _check_complete(source, path: Path) -> None:
    """Refuse an ENVI image that ends too early: what is missing would be read as zeros."""
    if source.driver == "ENVI" and source.tags(ns="ENVI").get("file_compression", "0") == "0":
        needed = source.count * source.height * source.width * np.dtype(source.dtypes[0]).itemsize
        if path.stat().st_size < needed:
            raise UserError(f"{path} has fewer than the {needed} bytes of its header, it is truncated: fetch it again.")


def _read_page(address: str) -> np.ndarray:
    import rasterio

    with rasterio.open(address) as page:
        return page.read()


def grid_of(source) -> Grid:
    """Where the pixels of an open rasterio data set lie."""
    placed = source.crs is not None and not source.transform.is_identity
    transform = tuple(source.transform)[:6] if placed else ()
    return Grid(source.height, source.width, source.crs.to_string() if placed else "", transform)


def write(path: Path, pixels: np.ndarray, crs: str = "", transform: tuple[float, ...] = (), **options) -> None:
    """Write pixels (C,H,W) as a DEFLATE-compressed GeoTIFF; `options` go to rasterio's writer."""
    import rasterio

    profile = {"driver": "GTiff", "count": pixels.shape[0], "height": pixels.shape[1], "width": pixels.shape[2]}
    if crs:
        profile |= {"crs": crs, "transform": rasterio.Affine(*transform)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", dtype=pixels.dtype, compress="deflate", **profile, **options) as target:
            target.write(pixels)


def write_geoparquet(index, size: tuple[int, int], path: Path) -> None:
    """Write a patch index as GeoParquet with each patch's outline in WGS 84 (patches without a location: none)."""
    import geopandas
    import rasterio.warp
    from shapely.geometry import box

    h, w = size
    outlines = []
    for crs, transform in zip(index["crs"], index["transform"], strict=True):
        if not crs:
            outlines.append(None)
            continue
        a, b, c, d, e, f = transform
        x, y = (c, c + a * w, c + b * h, c + a * w + b * h), (f, f + d * w, f + e * h, f + d * w + e * h)
        outlines.append(box(*rasterio.warp.transform_bounds(crs, "EPSG:4326", min(x), min(y), max(x), max(y))))
    geopandas.GeoDataFrame(index, geometry=outlines, crs="EPSG:4326").to_parquet(path, index=False)
