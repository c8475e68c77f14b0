"""The images of the user's own scenes, read window by window whatever file they come from."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from specdm import rasters
from specdm.errors import UserError
from specdm.patches import valid_pixels
from specdm.rasters import Declared, Grid, WindowedRaster
from specdm.settings import ImageFile
from specdm.sources.arrays import ARRAYS, read_array

FLOAT_NODATA = -9999.0  # stands for NaN in patches


class _Pixels(Protocol):
    """What an image is read through: a grid, and windows of chosen bands (C,h,w)."""

    grid: Grid
    count: int
    dtype: np.dtype
    nodata: float | None
    covered: tuple[float, float, float, float]

    def read(self, row: int, col: int, height: int, width: int, bands: Sequence[int]) -> np.ndarray: ...

    def declarations(self, bands: Sequence[int]) -> tuple[Declared, ...]: ...


class SceneImage(contextlib.AbstractContextManager):
    """One open image of a scene.

    Args:
        file: where it lies and how.
        names: names of all bands of the file, in its order.
        kept: positions of the bands to read.
        nodata: value of pixels without data, "file" for the file's own, None for none.
        onto: the grid of the scene's first image, when this is the second one.
        resampling: for bands or dates on another grid.

    Attributes:
        grid: size in pixels and georeference.
        dtype: type of the pixels as read: integers as in the file (64 bits become 32), else float32.
        nodata: what pixels without data hold in every band as read, None when there are none.
        declared: what each of its raster files declares of the kept bands; empty for array files.

    Raises:
        UserError: for unreadable files, another number of bands than names, or another place than `onto`.
    """

    def __init__(
        self,
        file: ImageFile,
        names: Sequence[str],
        kept: Sequence[int],
        nodata: float | str | None,
        onto: Grid | None = None,
        resampling: str = "cubic",
    ):
        self.path, self._kept, self._names = Path(file.path), list(kept), names
        self._stack = contextlib.ExitStack()
        try:
            self._pixels = self._open(file, onto, resampling, None if nodata == "file" else nodata)
            self._check(onto)
            self.declared = self._pixels.declarations(self._kept)
            self._given = self._pixels.nodata if nodata == "file" else nodata
            self.dtype = _storable(self._pixels.dtype, self.path)
            self._floating = np.issubdtype(self.dtype, np.floating)
            given = self._given is not None and not np.isnan(self._given)
            self.nodata = FLOAT_NODATA if self._floating else float(self._given) if given else None
            self._check_nodata()
        except BaseException:
            self._stack.close()
            raise

    def _open(self, file: ImageFile, onto: Grid | None, resampling: str, nodata: float | None) -> _Pixels:
        if self.path.suffix.lower() in ARRAYS:
            return _Array(file)
        if self.path.is_dir():
            return self._stack.enter_context(_Folder(file, self._names, self._kept, onto, resampling, nodata))
        raster = self._stack.enter_context(WindowedRaster(self.path, onto, resampling, nodata))
        if file.bounds and not raster.grid.crs:
            raster.grid = _placed(file, raster.grid.height, raster.grid.width)
        return raster

    def _check(self, onto: Grid | None) -> None:
        self.grid = self._pixels.grid
        if self._pixels.count != len(self._names):
            raise UserError(
                f"{self.path} holds {self._pixels.count} bands but {len(self._names)} are named: name each band of "
                "the file, also those that drop_bands leaves out."
            )
        if onto is None:
            return
        if (self.grid.height, self.grid.width) != (onto.height, onto.width):
            raise UserError(
                f"{self.path} is {self.grid.height} x {self.grid.width} pixels but the first image "
                f"{onto.height} x {onto.width}, and without a georeference it cannot be placed on it."
            )
        if self.grid.crs and onto.crs and not rasters.same_place(self.grid, onto):
            raise UserError(f"{self.path} shows another place than the first image: give two images of one ground.")

    def _check_nodata(self) -> None:
        if self.nodata is None and not self._whole():
            raise UserError(
                f"{self.path} covers only a part of the scene: declare the value of pixels without data (nodata)."
            )
        if self.nodata is None or self._floating:
            return
        limits = np.iinfo(self.dtype)
        if not (self.nodata.is_integer() and limits.min <= self.nodata <= limits.max):
            raise UserError(
                f"{self.path} holds {self.dtype} numbers, which cannot be the nodata value {self.nodata:g}: "
                "declare another, or nodata: null."
            )

    def read(self, row: int, col: int, height: int, width: int) -> np.ndarray:
        """A window of the kept bands, (C,height,width).

        A pixel without data holds `nodata` in every band. With nodata 0, which is also a legal number, that are
        pixels of 0 in all bands; with any other value, or NaN, pixels with it in any band.
        """
        raw = self._pixels.read(row, col, height, width, self._kept)
        stored = _stored(raw, self.dtype, self.path)
        if self.nodata is None or (self._given == 0 and not self._floating and self._whole()):
            return stored  # whatever lacks data holds `nodata` already
        gone, _ = self._missing(raw)
        if not self._whole():
            gone |= ~self._inside(row, col, height, width)
        return np.where(gone, self.dtype.type(self.nodata), stored) if gone.any() else stored

    def look(self, row: int, col: int, height: int, width: int, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where a window holds data (height,width) bool, and the bands (C,) known to hold any, those before included.

        Where the first band alone shows that nothing is missing, the others are not read.
        """
        if self.nodata is None:
            return np.ones((height, width), bool), np.ones_like(alive)
        valid = np.ones((height, width), bool) if self._whole() else self._inside(row, col, height, width)
        top, bottom, left, right = 0, height, 0, width
        if self._given == 0 and not self._floating and alive.all():
            dark = self._pixels.read(row, col, height, width, self._kept[:1])[0] == 0
            if not dark.any():
                return valid, alive
            rows, cols = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
            top, bottom, left, right = rows[0], rows[-1] + 1, cols[0], cols[-1] + 1
        raw = self._pixels.read(row + top, col + left, bottom - top, right - left, self._kept)
        gone, seen = self._missing(raw)
        valid[top:bottom, left:right] &= ~gone
        return valid, alive | seen

    def _missing(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels without data (h,w) bool, and bands with any data (C,) bool."""
        if self._given == 0 and not self._floating:
            return ~valid_pixels(raw, 0), raw.any(axis=(1, 2))
        empty = np.isnan(raw) if self._floating else np.zeros(raw.shape, bool)
        gone = empty.any(axis=0)
        if self._given is not None:
            marked = raw == self._given
            gone |= marked.all(axis=0) if self._given == 0 else marked.any(axis=0)
            empty |= marked
        if self._floating:
            gone |= (raw == FLOAT_NODATA).all(axis=0)  # they read as without data in the patches
        return gone, ~empty.all(axis=(1, 2))

    def _whole(self) -> bool:
        top, left, bottom, right = self._pixels.covered
        return top < 0.5 and left < 0.5 and bottom > self.grid.height - 0.5 and right > self.grid.width - 0.5

    def _inside(self, row: int, col: int, height: int, width: int) -> np.ndarray:
        """Which pixels of a window have their centre on the ground that the files cover, (height,width) bool."""
        top, left, bottom, right = self._pixels.covered
        rows, cols = np.arange(row, row + height) + 0.5, np.arange(col, col + width) + 0.5
        return ((rows > top) & (rows < bottom))[:, None] & ((cols > left) & (cols < right))

    def __exit__(self, *error: object) -> None:
        self._stack.close()


class _Array:
    """A .mat or .npy file; a .npy is read from disk window by window."""

    nodata = None

    def __init__(self, file: ImageFile):
        self._cube = read_array(
            Path(file.path),
            ("band", "row", "col"),
            variable=file.variable,
            shape=file.shape,
            axes=file.axes,
            time=file.time,
        )
        self.count, height, width = self._cube.shape
        self.dtype = self._cube.dtype
        self.grid = _placed(file, height, width) if file.bounds else Grid(height, width, "", ())
        self.covered = (0.0, 0.0, float(height), float(width))

    def read(self, row: int, col: int, height: int, width: int, bands: Sequence[int]) -> np.ndarray:
        return np.ascontiguousarray(self._cube[list(bands), row : row + height, col : col + width])

    def declarations(self, bands: Sequence[int]) -> tuple[Declared, ...]:
        return ()  # such files say nothing of their numbers


class _Folder(contextlib.AbstractContextManager):
    """A folder with a file for each band, on the grid of `onto` or else of the finest of them."""

    def __init__(
        self,
        file: ImageFile,
        names: Sequence[str],
        kept: Sequence[int],
        onto: Grid | None,
        resampling: str,
        nodata: float | None,
    ):
        folder = Path(file.path)
        if not file.band_files or "{band}" not in file.band_files:
            raise UserError(f"{folder} is a folder: say how its files are called with band_files: '*_{{band}}.tif'.")
        paths = {i: _band_file(folder, file.band_files, names[i]) for i in kept}
        self._stack = contextlib.ExitStack()
        try:
            if onto is None:
                onto = min((rasters.read_grid(path) for path in paths.values()), key=_fineness)
            self._files = {
                i: self._stack.enter_context(WindowedRaster(path, onto, resampling, nodata))
                for i, path in paths.items()
            }
            self._check(onto, folder)
        except BaseException:
            self._stack.close()
            raise
        first = next(iter(self._files.values()))
        self.grid, self.count, self.dtype = onto, len(names), first.dtype
        top, left, bottom, right = zip(*(one.covered for one in self._files.values()), strict=True)
        self.covered = (max(top), max(left), min(bottom), min(right))

    def _check(self, onto: Grid, folder: Path) -> None:
        first = next(iter(self._files.values()))
        for one in self._files.values():
            if one.count != 1:
                raise UserError(f"{one.path} holds {one.count} bands: in a folder each file holds one.")
            if one.dtype != first.dtype:
                raise UserError(f"{one.path} is {one.dtype} but {first.path.name} {first.dtype}: convert them to one.")
            if (one.grid.height, one.grid.width) != (onto.height, onto.width):
                raise UserError(
                    f"{one.path} has another size than the other bands of {folder}, and without a georeference it "
                    "cannot be resampled: save it with one."
                )

    @property
    def nodata(self) -> float | None:
        """What all files declare."""
        first, *others = self._files.values()
        for one in others:
            if str(one.nodata) != str(first.nodata):  # NaN is as good as NaN
                raise UserError(
                    f"{one.path} has nodata {one.nodata}, {first.path.name} {first.nodata}: set nodata to one value."
                )
        return first.nodata

    def declarations(self, bands: Sequence[int]) -> tuple[Declared, ...]:
        return tuple(declared for b in bands for declared in self._files[b].declarations([0]))

    def read(self, row: int, col: int, height: int, width: int, bands: Sequence[int]) -> np.ndarray:
        return np.concatenate([self._files[b].read(row, col, height, width, [0]) for b in bands])

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def _band_file(folder: Path, pattern: str, band: str) -> Path:
    # B1 and B01 are one band, and both spellings are usual in file names.
    spellings = dict.fromkeys((band, band.replace("B0", "B", 1), band.lower()))
    found = sorted({p for name in spellings for p in folder.glob(pattern.replace("{band}", name))})
    if len(found) != 1:
        raise UserError(
            f"{folder} holds {len(found)} files {pattern.replace('{band}', band)} instead of one: check band_files and "
            "the names of the bands."
        )
    return found[0]


def _fineness(grid: Grid) -> tuple[bool, float]:
    """The area of a pixel; grids without georeference come last."""
    if not grid.transform:
        return True, 1 / (grid.height * grid.width)
    a, b, _, d, e, _ = grid.transform
    return False, abs(a * e - b * d)


def _placed(file: ImageFile, height: int, width: int) -> Grid:
    west, south, east, north = file.bounds
    transform = ((east - west) / width, 0.0, west, 0.0, (south - north) / height, north)
    return Grid(height, width, rasters.crs_text(file.crs), transform)


def _storable(dtype: np.dtype, path: Path) -> np.dtype:
    """The type that pixels are stored in."""
    if np.issubdtype(dtype, np.floating):
        return np.dtype(np.float32)
    if np.issubdtype(dtype, np.integer):
        return np.dtype({"int64": "int32", "uint64": "uint32"}.get(dtype.name, dtype.name))
    raise UserError(f"{path} holds {dtype} numbers: save it as integers or floating-point numbers.")


def _stored(pixels: np.ndarray, dtype: np.dtype, path: Path) -> np.ndarray:
    if pixels.dtype.itemsize > dtype.itemsize and np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        if pixels.size and (pixels.min() < limits.min or pixels.max() > limits.max):
            raise UserError(f"{path} holds numbers beyond {dtype}: save it as smaller integers or as float32.")
    return pixels.astype(dtype, copy=False)
