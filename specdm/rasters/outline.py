"""An outline on the ground: read from a vector file or given as bounds, and looked at in other reference systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from specdm.errors import UserError
from specdm.rasters.shapes import read_shapes

WGS84 = "EPSG:4326"
Bounds = tuple[float, float, float, float]  # west, south, east, north
_PARTS = 256  # that the longer side is divided into: straight lines of one system are curves in another


@dataclass(frozen=True)
class Outline:
    """A shapely geometry in a coordinate reference system."""

    geometry: object
    crs: str

    def within(self, crs: str) -> object:
        """The geometry in another system."""
        import geopandas

        if crs == self.crs:
            return self.geometry
        west, south, east, north = self.geometry.bounds
        step = max(east - west, north - south) / _PARTS
        dense = self.geometry.segmentize(step) if step else self.geometry
        return geopandas.GeoSeries([dense], crs=self.crs).to_crs(crs).iloc[0]

    def bounds(self, crs: str) -> Bounds:
        """Its bounds in another system."""
        return self.within(crs).bounds

    def touched(self, boxes: Sequence[Bounds], crs: str) -> list[bool]:
        """Which boxes of another system share some ground with it."""
        import shapely

        shape = self.within(crs)
        shapely.prepare(shape)
        return [bool(shape.intersects(one) and not shape.touches(one)) for one in (shapely.box(*b) for b in boxes)]

    def covered(self, others: Sequence[object]) -> float:
        """The share of its ground that geometries in WGS 84 cover together."""
        import geopandas
        import shapely

        own = self.within(WGS84)
        shared = own.intersection(shapely.union_all(list(others)))
        own_m2, shared_m2 = geopandas.GeoSeries([own, shared], crs=WGS84).to_crs("ESRI:54034").area  # of equal area
        return float(shared_m2 / own_m2)


def read_outline(path: Path, layer: str | None = None) -> Outline:
    """All shapes of a vector file as one, in the file's own system; errors as in `read_shapes`."""
    import shapely

    shapes = read_shapes(path, None, layer)
    return Outline(shapely.union_all(shapes.geometries), shapes.crs)


def box_outline(bounds: Bounds, crs: str) -> Outline:
    """A rectangle in a system, whose east edge may be smaller than its west one."""
    import shapely

    return Outline(shapely.box(*bounds), crs)


def in_metres(crs: str) -> bool:
    """Whether a system is a plane measured in metres."""
    from rasterio.crs import CRS

    found = CRS.from_user_input(crs)
    return found.is_projected and found.linear_units_factor[1] == 1.0


def is_utm(crs: str) -> bool:
    """Whether a system is a zone of UTM on WGS 84, which satellite images come in."""
    from rasterio.crs import CRS

    code = CRS.from_user_input(crs).to_epsg() or 0
    return 32601 <= code <= 32660 or 32701 <= code <= 32760


def geometry_of(geojson: dict) -> object:
    """The shapely geometry of a GeoJSON geometry.

    Raises:
        UserError: when it is none.
    """
    import shapely
    import shapely.geometry

    try:
        return shapely.make_valid(shapely.geometry.shape(geojson))
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise UserError("The catalogue's answer holds a footprint that is no geometry: try again later.") from error
