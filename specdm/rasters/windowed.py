"""Reading a raster file window by window, on its own grid or resampled onto another one."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm.errors import UserError
from specdm.rasters.files import Grid, grid_of, open_file
from specdm.rasters.ground import corners_on, crs_name, same_crs, same_place

CACHE_BYTES = 192 << 20  # rasterio hands this on as bytes, whatever GDAL's own setting counts in


def block_cache():
    """Within this context GDAL decodes on all cores and keeps CACHE_BYTES of blocks, not a share of the memory."""
    import rasterio

    return rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_NUM_THREADS="ALL_CPUS")


@dataclass(frozen=True)
class Declared:
    """What a raster file declares about its numbers and their origin.

    Attributes:
        path: the file.
        scales, offsets: of the bands asked for, quantity = number * scale + offset; 1 and 0 where nothing is said.
        level, acquired, harmonised: its tags of these names, empty where there is none.
    """

    path: Path
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    level: str
    acquired: str
    harmonised: str


class WindowedRaster(contextlib.AbstractContextManager):
    """An open raster file.

    Args:
        path: the file; the .hdr of an ENVI image stands for its data file.
        onto: the grid to read on; None or the same place: the file's own.
        resampling: "nearest", "bilinear" or "cubic", where `onto` is another grid.
        nodata: value of pixels without data; None: as the file declares.

    Attributes:
        own: the file's own grid.
        grid: the grid that windows are read on.
        covered: the part of `grid` that the file covers, (top, left, bottom, right) in pixels.
        count, dtype, nodata: number of bands, type of the pixels, and the value of pixels without data, or None.

    Raises:
        UserError: when the file cannot be read, holds complex numbers or bands of several types, or cannot be read
            on `onto`, because it is in another coordinate reference system, at another place, or partly transparent.
    """

    def __init__(self, path: Path, onto: Grid | None = None, resampling: str = "cubic", nodata: float | None = None):
        self.path = data_file(path)
        self._stack = contextlib.ExitStack()
        self._source = self._file = self._stack.enter_context(open_file(self.path))
        self.own = self.grid = grid_of(self._source)
        types = sorted(set(self._source.dtypes))
        if not types:
            raise UserError(f"{path} holds several images: save the one that is meant as a GeoTIFF.")
        if types[0].startswith("complex"):  # also complex_int16, which NumPy does not have
            raise UserError(f"{path} holds complex numbers: save their magnitude or another real quantity.")
        if len(types) > 1:
            raise UserError(f"{path} holds bands of the types {' and '.join(types)}: convert them to one.")
        self.count, self.dtype = self._source.count, np.dtype(types[0])
        self.nodata = self._source.nodata if nodata is None else nodata
        self.covered = (0.0, 0.0, float(self.own.height), float(self.own.width))
        if onto is not None and onto.crs and self.own.crs and not same_place(self.own, onto):
            self._warp(onto, resampling)

    def _warp(self, onto: Grid, resampling: str) -> None:
        import rasterio
        from rasterio.vrt import WarpedVRT

        if not same_crs(self.own.crs, onto.crs):
            raise UserError(
                f"{self.path} is in {crs_name(self.own.crs)} but the first image of its scene in "
                f"{crs_name(onto.crs)}: warp it to that coordinate reference system."
            )
        self.covered = tuple(corners_on(self.own, [[0, 0, self.own.height, self.own.width]], onto)[0].tolist())
        top, left, bottom, right = self.covered
        if top >= onto.height or left >= onto.width or bottom <= 0 or right <= 0:
            raise UserError(f"{self.path} shows another place than the first image: give two images of one ground.")
        if rasterio.enums.ColorInterp.alpha in self._source.colorinterp:
            raise UserError(
                f"{self.path} marks a band as transparency (alpha), which would hide the others in resampling: save "
                "it as an ordinary band."
            )
        transform = rasterio.Affine(*onto.transform)
        step = ~transform @ rasterio.Affine(*self.own.transform)  # from pixels of the file to those of `onto`
        self._source = self._stack.enter_context(
            WarpedVRT(
                self._source,
                crs=onto.crs,
                transform=transform,
                height=onto.height,
                width=onto.width,
                resampling=rasterio.enums.Resampling[resampling],
                src_nodata=self.nodata,
                nodata=self.nodata,
                # GDAL would guess these from each window, and a pixel would depend on the window it is read in.
                xscale=np.hypot(step.a, step.b),
                yscale=np.hypot(step.d, step.e),
            )
        )
        self.grid = onto

    def declarations(self, bands: Sequence[int]) -> tuple[Declared]:
        """What the file says of some bands, which count from 0; pixels are read as they are stored all the same."""
        scales, offsets = (tuple(values[b] for b in bands) for values in (self._file.scales, self._file.offsets))
        tags = {name: self._file.tags().get(name, "") for name in ("level", "acquired", "harmonised")}
        return (Declared(self.path, scales, offsets, **tags),)

    def read(self, row: int, col: int, height: int, width: int, bands: Sequence[int]) -> np.ndarray:
        """Pixels (len(bands),height,width) of a window; `bands` count from 0.

        Raises:
            UserError: when the file is truncated.
        """
        import rasterio
        from rasterio.windows import Window

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                return self._source.read([b + 1 for b in bands], window=Window(col, row, width, height))
        except rasterio.errors.RasterioError as error:
            raise UserError(f"{self.path} cannot be read, it is damaged or truncated: fetch it again.") from error

    def __exit__(self, *error: object) -> None:
        self._stack.close()


@dataclass(frozen=True)
class FileBands:
    """What a file says of its bands: names and centre wavelengths in nm, empty unless it says so of each."""

    names: tuple[str, ...]
    wavelengths_nm: tuple[float, ...]


def read_bands(path: Path) -> FileBands:
    """The descriptions and wavelengths that a raster file declares for its bands.

    Wavelengths are read from GDAL's IMAGERY metadata or from those of an ENVI header; errors as in `files.read`.
    """
    with open_file(data_file(path)) as source:
        names = tuple(name or "" for name in source.descriptions)
        nm = [_wavelength_nm(source.tags(b, ns="IMAGERY") | source.tags(b)) for b in source.indexes]
    return FileBands(names if all(names) else (), tuple(nm) if None not in nm else ())


def _wavelength_nm(tags: dict[str, str]) -> float | None:
    with contextlib.suppress(ValueError):  # a header may hold any text
        if "wavelength" in tags:  # an ENVI header's; GDAL's own metadata are rounded to whole nanometres
            value, units = float(tags["wavelength"]), tags.get("wavelength_units", "").lower()
            in_um = units.startswith("micro") or units in ("um", "µm") or (not units.startswith("nano") and value < 100)
            return round(1000 * value, 3) if in_um else value
        if "CENTRAL_WAVELENGTH_UM" in tags:
            return round(1000 * float(tags["CENTRAL_WAVELENGTH_UM"]), 3)
    return None


def data_file(path: Path) -> Path:
    """The data file of an ENVI header; any other path as it is.

    Raises:
        UserError: when no data file lies beside the header.
    """
    if path.suffix.lower() != ".hdr":
        return path
    beside = [path.with_suffix(s) for s in ("", ".dat", ".img", ".bin", ".bsq", ".bil", ".bip", ".raw")]
    found = next((p for p in beside if p.is_file()), None)
    if found is None:
        raise UserError(f"{path} is a header without its data file {beside[0].name} or {beside[1].name} beside it.")
    return found
