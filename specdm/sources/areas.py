"""An area of interest: its outline, the grid of its images, and the tiles that a service is asked for."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

from specdm import rasters
from specdm.errors import UserError
from specdm.rasters import WGS84, Bounds, Grid, Outline
from specdm.settings import Area

SNAP_M = 60.0  # edges lie on multiples of the coarsest band's pixel, as those of Sentinel-2's own tiles do
LARGEST_PX = 2500  # side of a tile, a limit of the service
UTM_NORTH, UTM_SOUTH = 84.0, -80.0  # degrees of latitude


@dataclass(frozen=True)
class Tile:
    """A part of a grid: its first pixel and size."""

    row: int
    col: int
    height: int
    width: int


@dataclass(frozen=True)
class Ground:
    """What is to be acquired.

    Attributes:
        name: of the area.
        outline: its shape.
        grid: of its images, a metric coordinate reference system.
        tiles: the fewest that cover its outline within the limits of the service.
    """

    name: str
    outline: Outline
    grid: Grid
    tiles: tuple[Tile, ...]

    def bounds(self, tile: Tile) -> Bounds:
        """West, south, east and north edge of a tile in the grid's system."""
        step, _, west, _, _, north = self.grid.transform
        left, top = west + step * tile.col, north - step * tile.row
        return left, top - step * tile.height, left + step * tile.width, top


def ground(area: Area, root: Path, resolution_m: float) -> Ground:
    """Lay the grid of an area and divide it into tiles.

    Args:
        area: a vector file, below `root` unless it has a whole path, or bounds.
        root: folder that paths start from.
        resolution_m: side of a pixel.

    Raises:
        UserError: for an outline that is empty, crosses itself or the antimeridian, lies beyond the reach of UTM or
            across two of its zones without a grid given.
    """
    outline = _outline(area, root)
    crs = _grid_crs(area, outline)
    west, south, east, north = outline.bounds(crs)
    snap = SNAP_M if SNAP_M % resolution_m == 0 else resolution_m
    slack = 0.01 * resolution_m  # edges on the multiples must not become a pixel more by rounding
    left, bottom = (snap * math.floor((edge + slack) / snap) for edge in (west, south))
    right, top = (snap * math.ceil((edge - slack) / snap) for edge in (east, north))
    width, height = round((right - left) / resolution_m), round((top - bottom) / resolution_m)
    if min(width, height) < 1:
        raise UserError(f"The area {area.name} is empty: give it an extent of a pixel ({resolution_m:g} m) at least.")
    grid = Grid(height, width, crs, (resolution_m, 0.0, left, 0.0, -resolution_m, top))
    every = Ground(area.name, outline, grid, tuple(_tiles(height, width)))
    seen = outline.touched([every.bounds(tile) for tile in every.tiles], crs)
    return Ground(area.name, outline, grid, tuple(t for t, s in zip(every.tiles, seen, strict=True) if s))


def _outline(area: Area, root: Path) -> Outline:
    if area.file:
        outline, where = rasters.read_outline(root / area.file, area.layer), str(root / area.file)
    else:
        outline, where = rasters.box_outline(area.bounds, rasters.crs_text(area.crs)), f"The area {area.name}"
        if area.bounds[0] >= area.bounds[2]:
            raise UserError(
                f"{where}: its west edge {area.bounds[0]:g} is not west of its east edge {area.bounds[2]:g}: exchange "
                "them, or, where it lies across the antimeridian (180 degrees east), make an area of each side."
            )
    if outline.geometry.area == 0:
        raise UserError(f"{where} covers no ground: give polygons, or bounds with an extent.")
    west, south, east, north = outline.bounds(WGS84)
    if not all(map(math.isfinite, (west, south, east, north))):
        raise UserError(f"{where} has coordinates that {outline.crs} does not have: check its reference system.")
    if west < -180 or east > 180 or east - west > 180:
        raise UserError(f"{where} lies across the antimeridian (180 degrees east): make an area of each side.")
    if (north > UTM_NORTH or south < UTM_SOUTH) and area.grid is None:
        raise UserError(f"{where} reaches beyond 84 degrees north or 80 south, where UTM ends: set its grid.")
    return outline


def _grid_crs(area: Area, outline: Outline) -> str:
    """The metric system of the images: as given, or the UTM zone that the area is drawn in or lies in."""
    if area.grid is not None:
        crs = rasters.crs_text(area.grid)
        if not rasters.in_metres(crs):
            raise UserError(f"The area {area.name}: {area.grid} is not in metres: choose a UTM zone like EPSG:32633.")
        return crs
    if rasters.is_utm(outline.crs):
        return outline.crs
    west, south, east, north = outline.bounds(WGS84)
    zones = sorted({_zone(west), max(_zone(west), math.ceil((east + 180) / 6))})
    if len(zones) > 1:
        middle = _utm((west + east) / 2, (south + north) / 2)
        raise UserError(
            f"The area {area.name} lies across the UTM zones {zones[0]} to {zones[-1]}: set its grid to the one that "
            f"all images shall have ({middle} is that of its middle), or divide it."
        )
    return _utm((west + east) / 2, (south + north) / 2)


def _zone(longitude: float) -> int:
    return min(60, math.floor((longitude + 180) / 6) + 1)


def _utm(longitude: float, latitude: float) -> str:
    return f"EPSG:{(32600 if latitude >= 0 else 32700) + _zone(longitude)}"


def _tiles(height: int, width: int) -> list[Tile]:
    rows, cols = _edges(height), _edges(width)
    return [
        Tile(top, left, bottom - top, right - left)
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(cols)
    ]


def _edges(length: int) -> list[int]:
    """Where to cut a length into the fewest parts within the limit, as equal as can be."""
    n = math.ceil(length / LARGEST_PX)
    return [length * k // n for k in range(n + 1)]
