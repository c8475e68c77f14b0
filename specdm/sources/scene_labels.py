"""The labels of the user's own scenes as class ids, read window by window on the grid of the image."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from specdm import rasters
from specdm.errors import UserError
from specdm.labels import IGNORE, LabelSet
from specdm.rasters import Grid, WindowedRaster
from specdm.settings import LabelFile
from specdm.sources.arrays import ARRAYS, read_array


class SceneLabels(contextlib.AbstractContextManager):
    """The open labels of one scene.

    Args:
        file: where they lie and what they are: codes, abundances or shapes.
        labels: the classes with the codes that mean them.
        grid: the grid of the scene's first image.
        ignore: codes of pixels without a label.
        unlisted: what codes of no class are, "error" or "ignore".

    Raises:
        UserError: for unreadable files, labels of another place than the image or, without a georeference, another
            size, or shapes that cannot be placed on it.
    """

    def __init__(self, file: LabelFile, labels: LabelSet, grid: Grid, ignore: tuple = (), unlisted: str = "error"):
        self._stack = contextlib.ExitStack()
        opener = {"codes": _codes, "abundances": _abundances, "shapes": _shapes}[file.kind]
        try:
            self.read: Callable[[int, int, int, int], np.ndarray] = opener(
                file, labels, grid, ignore, unlisted, self._stack
            )
        except BaseException:
            self._stack.close()
            raise

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def _codes(file: LabelFile, labels: LabelSet, grid: Grid, ignore: tuple, unlisted: str, stack) -> Callable:
    path = Path(file.path)
    planes, nodata = _planes(file, grid, ("row", "col"), stack)
    known = {code for c in labels.classes for code in c.raw_codes}
    ignored = [code for code in (*ignore, IGNORE, nodata) if code is not None and code not in known]

    def read(row: int, col: int, height: int, width: int) -> np.ndarray:
        codes, covered = planes(row, col, height, width)
        if covered is None:
            return labels.remap(codes, path, ignored, unlisted)
        ids = np.full(covered.shape, IGNORE, np.uint8)
        ids[covered] = labels.remap(codes[covered], path, ignored, unlisted)
        return ids

    return read


def _abundances(file: LabelFile, labels: LabelSet, grid: Grid, ignore: tuple, unlisted: str, stack) -> Callable:
    planes, nodata = _planes(file, grid, ("class", "row", "col"), stack, n_classes=len(file.order))
    ids = np.array([labels.names.index(name) for name in file.order], np.uint8)

    def read(row: int, col: int, height: int, width: int) -> np.ndarray:
        shares, covered = planes(row, col, height, width)  # K h w
        unknown = ~np.isfinite(shares).all(axis=0) | (shares <= 0).all(axis=0)
        if nodata:  # 0 is also a legal share
            unknown |= (shares == nodata).any(axis=0)
        if covered is not None:
            unknown |= ~covered
        return np.where(unknown, IGNORE, ids[np.where(unknown, -np.inf, shares).argmax(axis=0)])

    return read


def _shapes(file: LabelFile, labels: LabelSet, grid: Grid, ignore: tuple, unlisted: str, stack) -> Callable:
    path = Path(file.path)
    if not grid.crs:
        raise UserError(
            f"{path} holds shapes, but the image has no georeference to place them on: give its crs and bounds."
        )
    shapes = _read_shapes(path, path.stat().st_mtime_ns, grid.crs, file.layer, file.attribute)
    if file.covered:
        ids = np.full(len(shapes.geometries), labels.names.index(file.covered), np.uint8)
    else:
        ids = labels.ids_of(shapes.values, path, ignore, unlisted)
    # Where shapes overlap, the class that is declared later lies on top; ignored shapes lie at the bottom.
    order = np.argsort(np.where(ids == IGNORE, -1, ids.astype(int)), kind="stable")
    shapes, ids = shapes.chosen(order), ids[order]
    fill = labels.names.index(file.uncovered) if file.uncovered else IGNORE
    if not file.uncovered and not shapes.touch(grid):
        raise UserError(f"{path} has no shape on the ground of the image: check that both show one place.")

    def read(row: int, col: int, height: int, width: int) -> np.ndarray:
        return shapes.burn(ids, grid, row, col, height, width, fill)

    return read


@lru_cache(maxsize=4)  # many scenes share one vector file
def _read_shapes(path: Path, saved: int, crs: str, layer: str | None, attribute: str | None) -> rasters.Shapes:
    return rasters.read_shapes(path, crs, layer, attribute)


def _planes(file: LabelFile, grid: Grid, axes: tuple[str, ...], stack, n_classes: int | None = None):
    """A reader of windows of the file's numbers, and the file's nodata value.

    It gives numbers (h,w) or (K,h,w), and where the file covers the window (h,w) bool, None for all of it. A raster on
    another grid is looked up at the centres of the image's pixels.
    """
    path = Path(file.path)
    if path.suffix.lower() in ARRAYS:
        array = read_array(path, axes, variable=file.variable, shape=file.shape, axes=file.axes, time=file.time)
        _check_size(path, array.shape[-2:], grid)
        _check_planes(path, len(array) if n_classes else 1, n_classes)
        return (lambda row, col, h, w: (np.asarray(array[..., row : row + h, col : col + w]), None)), None
    raster = stack.enter_context(WindowedRaster(path))
    _check_planes(path, raster.count, n_classes)
    bands = range(n_classes or 1)
    squeeze = slice(None) if n_classes else 0
    if not (raster.own.crs and grid.crs) or rasters.same_place(raster.own, grid):
        _check_size(path, (raster.own.height, raster.own.width), grid)
        return (lambda row, col, h, w: (raster.read(row, col, h, w, bands)[squeeze], None)), raster.nodata
    if not rasters.meet(raster.own, grid):
        raise UserError(f"{path} shows another place than the image: give labels of the image's ground.")
    sampled = rasters.SampledRaster(raster, grid)

    def read(row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        numbers, covered = sampled.read(row, col, height, width, bands)
        return numbers[squeeze], covered

    return read, raster.nodata


def _check_size(path: Path, size: tuple[int, int], grid: Grid) -> None:
    if tuple(size) != (grid.height, grid.width):
        raise UserError(
            f"{path} is {size[0]} x {size[1]} pixels but the image {grid.height} x {grid.width}: cut or warp it onto "
            "the image's own grid."
        )


def _check_planes(path: Path, n_planes: int, n_classes: int | None) -> None:
    if n_planes != (n_classes or 1):
        wanted = f"{n_classes}, as `order` names" if n_classes else "one with the codes"
        raise UserError(f"{path} holds {n_planes} layers instead of {wanted}: check the file.")
