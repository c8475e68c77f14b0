"""GeoTIFFs that say what they hold: names, wavelengths and scaling of the bands, nodata, tags, colours."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from specdm.errors import UserError
from specdm.rasters.files import Grid, grid_of, open_file


@dataclass(frozen=True)
class Annotations:
    """What a raster file says of its pixels.

    Attributes:
        bands: names (descriptions) of the bands; empty unless each has one.
        wavelengths_nm: centre wavelengths of the bands; written only, `read_bands` reads them.
        scales, offsets: quantity = number * scale + offset, one of each a band; empty means 1 and 0.
        nodata: value of pixels without data, None when there is none.
        tags: texts by name.
        palette: colours of the values of the first band, (256,3) uint8; None without a colour table.
    """

    bands: tuple[str, ...] = ()
    wavelengths_nm: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    nodata: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    palette: np.ndarray | None = None


@dataclass(frozen=True)
class Header:
    """What a raster file says before its pixels are read: grid, number of bands, their common type, annotations."""

    grid: Grid
    count: int
    dtype: np.dtype
    about: Annotations


@contextlib.contextmanager
def many_files() -> Iterator[None]:
    """For reading or writing many files of one folder; to be entered before threads are started.

    GDAL keeps one environment and does not list the folder for each file, so that the time a file takes does not grow
    with their number; files beside it (.tfw) are still found. Nothing warns of files without a georeference: the
    filters of warnings belong to the whole process, and a thread that restores them changes those of all others.
    """
    import rasterio

    with warnings.catch_warnings(), rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


def write_annotated(
    path: Path,
    pixels: np.ndarray,
    about: Annotations = Annotations(),
    crs: str = "",
    transform: tuple[float, ...] = (),
    **options,
) -> None:
    """Write pixels (C,H,W) as one GeoTIFF; safe in threads, see `many_files`.

    Args:
        path: the file, overwritten.
        pixels: of any type that TIFF knows.
        about: what the file says of them; a nodata value that the type cannot hold is left out.
        crs, transform: georeference; none is written, and none invented, where `crs` is empty.
        options: of GDAL's GTiff driver, such as compress and interleave.

    Raises:
        UserError: when the file cannot be written.
    """
    import rasterio

    count, height, width = pixels.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype}
    # Band by band, one strip each: patches are read whole. Of a single band Pillow cannot read that.
    profile |= {"interleave": "band" if count > 1 else "pixel", "blockysize": height}
    profile |= {"nodata": _fitting(about.nodata, pixels.dtype)}
    if about.palette is None:  # otherwise GDAL takes a fourth band for transparency
        profile |= {"photometric": "minisblack", "alpha": "unspecified"}
    if crs:
        profile |= {"crs": crs, "transform": rasterio.Affine(*transform)}
    try:
        with rasterio.open(path, "w", **profile | options) as target:
            describe(target, about)
            target.write(pixels)
    except rasterio.errors.RasterioError as error:
        raise UserError(f"{path} cannot be written ({error}): free some space or use another folder.") from error


def describe(target, about: Annotations) -> None:
    """Write all but nodata, which belongs to the profile, into an open rasterio data set."""
    if about.palette is not None:
        target.write_colormap(1, _colour_table(about.palette.tobytes()))
    if about.tags:
        target.update_tags(**about.tags)
    for number, name in enumerate(about.bands, start=1):
        target.set_band_description(number, name)
    for number, nm in enumerate(about.wavelengths_nm, start=1):
        target.update_tags(number, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=f"{nm / 1000:.10g}")
    if about.scales:
        target.scales, target.offsets = about.scales, about.offsets


@functools.lru_cache
def _colour_table(palette: bytes) -> dict[int, tuple[int, int, int, int]]:
    """Colours as rasterio takes them; the same for all files of a set."""
    return {i: (*palette[3 * i : 3 * i + 3], 255) for i in range(len(palette) // 3)}


def _fitting(nodata: float | None, dtype: np.dtype) -> float | None:
    """The nodata value where the type can hold it: where it cannot, no pixel can lack data either."""
    if nodata is None or not np.issubdtype(dtype, np.integer):
        return nodata
    limits = np.iinfo(dtype)
    return nodata if float(nodata).is_integer() and limits.min <= nodata <= limits.max else None


def read_header(path: Path) -> Header:
    """Read what a raster file says of its pixels; errors as in `files.read`, and for bands of several types."""
    with open_file(path) as source:
        types = sorted(set(source.dtypes))
        if len(types) != 1 or types[0].startswith("complex"):
            raise UserError(f"{path} holds pixels of the types {', '.join(types) or 'none'}: convert them to one real.")
        names = tuple(name or "" for name in source.descriptions)
        about = Annotations(
            bands=names if all(names) else (),
            scales=tuple(source.scales),
            offsets=tuple(source.offsets),
            nodata=source.nodata,
            tags=source.tags(),
            palette=_palette(source),
        )
        return Header(grid_of(source), source.count, np.dtype(types[0]), about)


def _palette(source) -> np.ndarray | None:
    try:
        table = source.colormap(1)
    except ValueError:  # what rasterio says where there is none
        return None
    palette = np.zeros((256, 3), np.uint8)
    for value, colour in table.items():
        if value < len(palette):
            palette[value] = colour[:3]
    return palette
