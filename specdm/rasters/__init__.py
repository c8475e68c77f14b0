"""Georeferenced rasters and vectors: the only door to rasterio and geopandas."""

from specdm.rasters.annotated import (
    Annotations,
    Header,
    many_files,
    read_header,
    write_annotated,
)
from specdm.rasters.cog import CogWriter, why_not
from specdm.rasters.files import Grid, Raster, read, read_grid, write, write_geoparquet
from specdm.rasters.ground import bounds_in, corners_on, crs_name, crs_text, meet, same_crs, same_place
from specdm.rasters.label_map import LabelMap
from specdm.rasters.outline import WGS84, Bounds, Outline, box_outline, geometry_of, in_metres, is_utm, read_outline
from specdm.rasters.sampled import SampledRaster
from specdm.rasters.shapes import Shapes, read_shapes
from specdm.rasters.windowed import Declared, FileBands, WindowedRaster, block_cache, read_bands

__all__ = [
    "WGS84",
    "Annotations",
    "Bounds",
    "CogWriter",
    "Declared",
    "FileBands",
    "Grid",
    "Header",
    "LabelMap",
    "Outline",
    "Raster",
    "SampledRaster",
    "Shapes",
    "WindowedRaster",
    "block_cache",
    "bounds_in",
    "box_outline",
    "corners_on",
    "crs_name",
    "crs_text",
    "geometry_of",
    "in_metres",
    "is_utm",
    "many_files",
    "meet",
    "read",
    "read_bands",
    "read_grid",
    "read_header",
    "read_outline",
    "read_shapes",
    "same_crs",
    "same_place",
    "why_not",
    "write",
    "write_annotated",
    "write_geoparquet",
]
