"""Where pixels of one grid lie in the pixels of another."""

from __future__ import annotations

import numpy as np

from specdm.errors import UserError
from specdm.rasters.files import Grid


def crs_text(crs: str) -> str:
    """A coordinate reference system as the grids of files spell it.

    Raises:
        UserError: when there is none of that name.
    """
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return CRS.from_user_input(crs).to_string()
    except CRSError as error:
        raise UserError(f"{crs!r} is no coordinate reference system: write it like EPSG:32633.") from error


def same_crs(a: str, b: str) -> bool:
    """Whether two texts mean one coordinate reference system."""
    from rasterio.crs import CRS

    return a == b or (bool(a) and bool(b) and CRS.from_string(a) == CRS.from_string(b))


def crs_name(crs: str) -> str:
    """A coordinate reference system in a few words, for errors: a long definition by its name alone."""
    if len(crs) <= 40 or '"' not in crs:
        return crs
    return crs.split('"')[1]


def corners_on(here: Grid, windows: np.ndarray, frame: Grid) -> np.ndarray:
    """The smallest upright rectangles, in the pixels of `frame`, around windows of another grid.

    Args:
        here: the grid of the windows.
        windows: (n,4) top, left, bottom, right in its pixels.
        frame: a grid with a georeference, as `here` has.

    Returns:
        (n,4) float64 top, left, bottom, right in the pixels of `frame`; on the same grid, the windows themselves.
    """
    windows = np.asarray(windows, np.float64).reshape(-1, 4)
    if (here.crs, here.transform) == (frame.crs, frame.transform):
        return windows
    from rasterio import Affine

    x, y = _corners(here, windows, frame.crs)
    cols, rows = _apply(~Affine(*frame.transform), x, y)
    return np.stack([rows.min(0), cols.min(0), rows.max(0), cols.max(0)], axis=1)


def bounds_in(grid: Grid, crs: str) -> np.ndarray:
    """West, south, east and north edge (4,) of a georeferenced grid in another coordinate reference system."""
    x, y = _corners(grid, np.array([[0, 0, grid.height, grid.width]], np.float64), crs)
    return np.array([x.min(), y.min(), x.max(), y.max()])


def _corners(grid: Grid, windows: np.ndarray, crs: str) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x, y (4,n) in `crs` of the corners of windows (n,4) of a grid."""
    from rasterio import Affine

    top, left, bottom, right = windows.T
    rows, cols = np.stack([top, top, bottom, bottom]), np.stack([left, right, left, right])
    x, y = _apply(Affine(*grid.transform), cols, rows)
    if grid.crs != crs:
        from rasterio.warp import transform

        xs, ys = transform(grid.crs, crs, x.ravel(), y.ravel())
        x, y = np.reshape(xs, x.shape), np.reshape(ys, y.shape)
    return x, y


# x = a col + b row + c,  y = d col + e row + f
def _apply(t, col: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f


def meet(a: Grid, b: Grid) -> bool:
    """Whether two georeferenced grids share some ground, as far as their bounds in the system of `b` tell."""
    west, south, east, north = bounds_in(a, b.crs)
    left, bottom, right, top = bounds_in(b, b.crs)
    return bool(west < right and east > left and south < top and north > bottom)


def same_place(a: Grid, b: Grid, slack_px: float = 0.05) -> bool:
    """Whether two georeferenced grids have the same system, size and corners (within `slack_px` pixels)."""
    if (a.height, a.width) != (b.height, b.width) or not same_crs(a.crs, b.crs):
        return False
    whole = np.array([[0, 0, a.height, a.width]])
    return bool(np.abs(corners_on(b, whole, a) - whole).max() < slack_px)
