"""Georeferenced rasters and vectors: the only door to rasterio and geopandas."""

from specdm.rasters.files import Grid, Raster, read, read_grid, write, write_geoparquet
from specdm.rasters.ground import bounds_in, corners_on, crs_name, crs_text, same_crs, same_place
from specdm.rasters.label_map import LabelMap
from specdm.rasters.shapes import Shapes, read_shapes
from specdm.rasters.windowed import FileBands, WindowedRaster, block_cache, read_bands

__all__ = [
    "FileBands",
    "Grid",
    "LabelMap",
    "Raster",
    "Shapes",
    "WindowedRaster",
    "block_cache",
    "bounds_in",
    "corners_on",
    "crs_name",
    "crs_text",
    "read",
    "read_bands",
    "read_grid",
    "read_shapes",
    "same_crs",
    "same_place",
    "write",
    "write_geoparquet",
]
