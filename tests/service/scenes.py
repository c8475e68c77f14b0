"""What the local Sentinel Hub serves: acquisitions, and where their pixels come from."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from specdm.bands import SENTINEL2

TILE_M = 109_800  # side of a Sentinel-2 tile
LEVELS = {"sentinel-2-l1c": "L1C", "sentinel-2-l2a": "L2A"}


class Pixels(Protocol):
    """The ground as an acquisition saw it; x and y are metres in its CRS, arrays that broadcast to (H,W)."""

    def values(self, band: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """10000 x reflectance, signed integers (H,W), at ground positions."""

    def valid(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Where there are data, bool, broadcastable to (H,W)."""


@dataclass(frozen=True)
class Ground:
    """Ground whose value depends on band, seed and the cell of the band's own 10, 20 or 60 m grid, and on nothing else.

    A smooth wave of +-600 plus noise of 0 to 511 over `base_dn` + 100 per band; the default never comes to 0, so that
    0 means no data. Nothing is stored: a scene may have any size.

    Attributes:
        seed: grounds of two seeds differ in their noise everywhere.
        base_dn: level of B01 in units of 10000 x reflectance; lower than 600, parts are negative.
    """

    seed: int = 0
    base_dn: int = 1000

    def values(self, band: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """10000 x reflectance, int16 (H,W)."""
        gsd_m = SENTINEL2[band].gsd_m
        col, row = np.floor(np.atleast_1d(x) / gsd_m), np.floor(np.atleast_1d(y) / gsd_m)
        key = zlib.crc32(f"{self.seed} {band}".encode())
        noise = _mixed(col, key) ^ _mixed(row, ~key)
        noise *= np.uint16(40503)
        noise >>= np.uint16(7)  # the high bits of a product are its best mixed: 0 to 511
        level = self.base_dn + 100 * list(SENTINEL2).index(band)
        along = level + 300 * np.sin(col * gsd_m / 1700)
        across = 300 * np.cos(row * gsd_m / 2300)
        out = np.rint(along).astype(np.int16) + np.rint(across).astype(np.int16)
        out += noise.astype(np.int16)
        return out

    def valid(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Everywhere."""
        return np.True_


def _mixed(cell: np.ndarray, key: int) -> np.ndarray:
    """Sixteen well mixed bits (uint16) of a cell's number."""
    h = cell.astype(np.int64).astype(np.uint32) ^ np.uint32(key & 0xFFFFFFFF)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):  # Wellons' lowbias32
        h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
    return (h >> np.uint32(16)).astype(np.uint16)


@dataclass(frozen=True)
class RasterPixels:
    """Pixels of a north-up GeoTIFF in the acquisition's CRS, read with nearest neighbour.

    Attributes:
        path: the file; its values are 10000 x reflectance.
        bands: names of its bands, in their order; a request for others is a fault of the test.
        nodata: value that marks a pixel without data where every band has it.
    """

    path: Path
    bands: tuple[str, ...]
    nodata: float = 0

    def values(self, band: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """10000 x reflectance (H,W) in the file's type; `nodata` beside the file."""
        return self._at(x, y, [self.bands.index(band) + 1])[0]

    def valid(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Where the file covers the ground and any of its bands has data, bool (H,W)."""
        return (self._at(x, y, list(range(1, len(self.bands) + 1))) != self.nodata).any(axis=0)

    def _at(self, x: np.ndarray, y: np.ndarray, indexes: list[int]) -> np.ndarray:
        """Pixels (C,H,W) of some bands at ground positions."""
        import rasterio
        from rasterio.windows import Window

        with rasterio.open(self.path) as source:
            a, b, west, d, e, north = tuple(source.transform)[:6]
            assert (b, d) == (0, 0), f"{self.path} is not north up"
            col = np.floor((np.asarray(x) - west) / a).astype(int)
            row = np.floor((np.asarray(y) - north) / e).astype(int)
            inside = (col >= 0) & (col < source.width) & (row >= 0) & (row < source.height)
            col, row = np.clip(col, 0, source.width - 1), np.clip(row, 0, source.height - 1)
            left, top = int(col.min()), int(row.min())
            window = Window(left, top, int(col.max()) - left + 1, int(row.max()) - top + 1)
            read = source.read(indexes, window=window)
            return np.where(inside, read[:, row - top, col - left], np.asarray(self.nodata, read.dtype))


@dataclass(frozen=True)
class Acquisition:
    """One Sentinel-2 product as the catalogue lists it and the process service draws it.

    Attributes:
        id: name of the product.
        time: sensing time, with a time zone.
        collection: "sentinel-2-l2a" or "sentinel-2-l1c".
        cloud_cover: percent.
        baseline: processing baseline such as "05.10"; from "04.00" on, stored numbers are 1000 higher.
        epsg: metric coordinate reference system of footprint and pixels.
        footprint: corners (x, y) in metres of the convex area with data.
        pixels: where the values come from.
    """

    id: str
    time: dt.datetime
    collection: str
    cloud_cover: float
    baseline: str
    epsg: int
    footprint: tuple[tuple[float, float], ...]
    pixels: Pixels

    def __post_init__(self):
        assert self.time.tzinfo is not None, "an acquisition's time needs a time zone"
        assert self.collection in LEVELS, self.collection
        hull = self.polygon.convex_hull
        assert self.polygon.is_valid and hull.area - self.polygon.area < 1e-6 * hull.area, "a footprint is convex"

    @property
    def offset_dn(self) -> int:
        """What the product's own numbers have on top of 10000 x reflectance."""
        return 1000 if self.baseline >= "04.00" else 0

    @cached_property
    def polygon(self):
        """The footprint as a shapely polygon, in metres."""
        from shapely.geometry import Polygon

        return Polygon(self.footprint)

    def inside(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether ground positions lie in the footprint, bool, broadcastable to (H,W)."""
        corners = np.array(self.footprint)
        following = np.roll(corners, -1, axis=0)
        turn = np.sign(np.sum(corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1]))
        out = np.True_
        for (x0, y0), (x1, y1) in zip(corners, following, strict=True):
            # left of an edge that goes round counterclockwise; a zero term stays a row or column
            away = turn * (x1 - x0) * (y - y0) if x1 != x0 else 0
            away = away - turn * (y1 - y0) * (x - x0) if y1 != y0 else away
            out = out & (away >= 0)
        return out

    def valid(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Where the acquisition has data, bool, broadcastable to (H,W)."""
        inside = self.inside(x, y)
        return inside & self.pixels.valid(x, y) if np.any(inside) else inside


def sentinel2(
    when: str,
    *,
    level: str = "L2A",
    cloud_cover: float = 0.0,
    baseline: str = "05.10",
    tile: str = "T32UPU",
    epsg: int = 32632,
    west: float = 600_000,
    north: float = 5_400_000,
    size_m: tuple[float, float] = (TILE_M, TILE_M),
    footprint: Sequence[tuple[float, float]] | None = None,
    pixels: Pixels | None = None,
) -> Acquisition:
    """An acquisition with the name that ESA would give it.

    Args:
        when: sensing time such as "2024-07-03T10:10:31Z".
        level: "L2A" or "L1C".
        cloud_cover, baseline, epsg: as in `Acquisition`.
        tile: name of the tile, which is only written into the id.
        west, north: upper left corner in metres.
        size_m: width and height of the tile in metres.
        footprint: convex area with data, default the whole tile.
        pixels: default a `Ground` whose seed comes from the id, so that any two acquisitions differ.
    """
    time = dt.datetime.fromisoformat(when)
    orbit, made = "R022", time + dt.timedelta(hours=4)
    stamp = "%Y%m%dT%H%M%S"
    name = f"S2A_MSI{level}_{time:{stamp}}_N{baseline.replace('.', '')}_{orbit}_{tile}_{made:{stamp}}"
    east, south = west + size_m[0], north - size_m[1]
    return Acquisition(
        id=name,
        time=time,
        collection=f"sentinel-2-{level.lower()}",
        cloud_cover=cloud_cover,
        baseline=baseline,
        epsg=epsg,
        footprint=tuple(footprint or ((west, south), (east, south), (east, north), (west, north))),
        pixels=pixels or Ground(seed=zlib.crc32(name.encode())),
    )
