"""Vector files as labels: shapes with the value of an attribute, burnt into windows of a grid."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from specdm.errors import UserError
from specdm.rasters.files import Grid


@dataclass(frozen=True)
class Shapes:
    """Geometries in a coordinate reference system, bottom first.

    Attributes:
        geometries: (n,) shapely geometries.
        values: value of the attribute of each, None where there is none.
        crs: their system.
    """

    geometries: np.ndarray
    values: tuple[object, ...]
    crs: str

    @cached_property
    def _tree(self):
        import shapely

        return shapely.STRtree(self.geometries)

    def burn(self, ids: np.ndarray, grid: Grid, row: int, col: int, height: int, width: int, fill: int) -> np.ndarray:
        """Ids of the shapes over a window of `grid`, (height,width) uint8.

        A pixel belongs to a polygon that covers its centre, and to the last of several; `fill` where there is none.
        Points mark their pixel, lines those that GDAL draws them through.
        """
        from rasterio import Affine, features

        out = np.full((height, width), fill, np.uint8)
        place = Affine(*grid.transform) @ Affine.translation(col, row)
        here = np.sort(self._tree.query(_outline(place, height, width), predicate="intersects"))
        if len(here):
            burnt = [(self.geometries[i], int(ids[i])) for i in here]
            features.rasterize(burnt, out=out, transform=place)
        return out

    def touch(self, grid: Grid) -> bool:
        """Whether any of the shapes lies on the ground of a grid."""
        from rasterio import Affine

        outline = _outline(Affine(*grid.transform), grid.height, grid.width)
        return len(self._tree.query(outline, predicate="intersects")) > 0

    def chosen(self, which: Sequence[int]) -> Shapes:
        """Some of the shapes, in the order given."""
        which = list(which)
        return Shapes(self.geometries[which], tuple(self.values[i] for i in which), self.crs)


def _outline(place, height: int, width: int):
    import shapely

    x, y = zip(*(place @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))), strict=True)
    return shapely.box(min(x), min(y), max(x), max(y))


def read_shapes(path: Path, crs: str | None, layer: str | None = None, attribute: str | None = None) -> Shapes:
    """The shapes of a vector file in the system `crs` (None: its own); features without geometry are left out.

    Raises:
        UserError: for an unreadable file, an unknown layer or attribute, shapes without a coordinate reference system,
            polygons that cross themselves, or no shape at all.
    """
    import geopandas
    import shapely

    frame = _read(path, layer)
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise UserError(f"{path} holds no geometries: give a vector file, or leave out attribute and covered.")
    attributes = [name for name in frame.columns if name != frame.geometry.name]
    if attribute is not None and attribute not in attributes:
        raise UserError(f"{path} has no attribute {attribute!r}: it has {', '.join(attributes) or 'none'}.")
    if frame.crs is None:
        raise UserError(f"{path} names no coordinate reference system: save it with one, so that it can be placed.")
    bare = frame.geometry.to_numpy()
    frame = frame[~(shapely.is_missing(bare) | shapely.is_empty(bare))]
    if frame.empty:
        raise UserError(f"{path} holds no shapes: check the file and the layer.")
    crossing = np.flatnonzero(~frame.geometry.is_valid.to_numpy())
    if len(crossing):
        reason = shapely.is_valid_reason(frame.geometry.iloc[crossing[0]])
        raise UserError(
            f"{path}: feature {frame.index[crossing[0]]} is not a valid polygon ({reason}), and {len(crossing) - 1} "
            "others are not: mend them, for example with shapely.make_valid or the geometry tools of QGIS."
        )
    values = [None] * len(frame)
    if attribute is not None:
        column = frame[attribute]
        values = column.astype(object).where(column.notna(), None).tolist()
    placed = frame.geometry if crs is None else frame.geometry.to_crs(crs)
    return Shapes(placed.to_numpy(), tuple(values), crs or placed.crs.to_string())


def _read(path: Path, layer: str | None):
    import geopandas
    import pyogrio

    if not path.exists():
        raise UserError(f"{path} does not exist: check the folder and the file name.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a layer without geometry is told by the caller
            if path.suffix == ".parquet":
                return geopandas.read_parquet(path)
            layers = [name for name, _ in pyogrio.list_layers(path)]
            if layer is not None and layer not in layers:
                raise UserError(f"{path} has no layer {layer!r}: it has {', '.join(layers)}.")
            if layer is None and len(layers) > 1:
                raise UserError(f"{path} has the layers {', '.join(layers)}: name the one that is meant.")
            return geopandas.read_file(path, layer=layer or layers[0])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, OSError, ValueError, IndexError) as error:
        raise UserError(f"{path} cannot be read as a vector file: check its format.") from error
