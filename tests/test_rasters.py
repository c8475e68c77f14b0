"""Where pixels lie on the ground: grids in each other's pixels, shapes in windows, and files beside headers."""

import numpy as np
import pyproj
import pytest
import rasterio
import shapely

from specdm import rasters
from specdm.errors import UserError
from specdm.rasters import Grid, Shapes
from specdm.rasters.windowed import data_file

UTM, PLACE = "EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)
GRID = Grid(60, 80, UTM, PLACE)


def test_windows_on_the_same_grid_stay_as_they_are():
    windows = np.array([[0, 1, 16, 17], [5, 6, 7, 8]])
    np.testing.assert_array_equal(rasters.corners_on(GRID, windows, GRID), windows)


def test_windows_on_a_shifted_grid_of_other_pixels():
    frame = Grid(99, 99, UTM, (20.0, 0.0, 499960.0, 0.0, -5.0, 5000030.0))
    found = rasters.corners_on(GRID, [[2, 4, 10, 14]], frame)
    np.testing.assert_allclose(found, [[10, 4, 26, 9]])  # from 30 m and 40 m to 130 m and 140 m


def test_windows_of_south_up_and_turned_grids():
    upside = Grid(60, 80, UTM, (10.0, 0.0, 500000.0, 0.0, 10.0, 4999400.0))
    np.testing.assert_allclose(rasters.corners_on(upside, [[0, 3, 10, 20]], GRID), [[50, 3, 60, 20]], atol=1e-9)
    turned = Grid(60, 80, UTM, (0.0, 10.0, 500000.0, 10.0, 0.0, 4999000.0))  # columns go north, rows east
    np.testing.assert_allclose(rasters.corners_on(turned, [[1, 2, 5, 9]], GRID), [[91, 1, 98, 5]], atol=1e-9)


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326", "EPSG:3035"])
def test_windows_in_another_reference_system(crs):
    to, back = (pyproj.Transformer.from_crs(*pair, always_xy=True).transform for pair in ((UTM, crs), (crs, UTM)))
    x, y = to(500200, 4999700)
    pixel = 1e-4 if crs == "EPSG:4326" else 10.0
    other = Grid(50, 50, crs, (pixel, 0.0, x, 0.0, -pixel, y))
    corners = [back(x + pixel * col, y - pixel * row) for row in (3, 13) for col in (4, 24)]
    cols, rows = ([(east - 500000) / 10 for east, _ in corners], [(5000000 - north) / 10 for _, north in corners])
    expected = [min(rows), min(cols), max(rows), max(cols)]
    np.testing.assert_allclose(rasters.corners_on(other, [[3, 4, 13, 24]], GRID), [expected], atol=1e-3)
    bounds = np.array([back(x + pixel * col, y - pixel * row) for row in (0, 50) for col in (0, 50)])
    np.testing.assert_allclose(rasters.bounds_in(other, UTM), [*bounds.min(axis=0), *bounds.max(axis=0)], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"transform": (10.0, 0.0, 500000.4, 0.0, -10.0, 5000000.4)}, True),
        ({"transform": (10.0, 0.0, 500000.6, 0.0, -10.0, 5000000.0)}, False),
        ({"transform": (10.0, 0.0, 500000.0, 0.0, -10.0, 4999999.4)}, False),
        ({"transform": (10.01, 0.0, 500000.0, 0.0, -10.0, 5000000.0)}, False),
        ({"height": 59}, False),
        ({"width": 81}, False),
        ({"crs": "EPSG:32632"}, False),
    ],
)
def test_grids_of_one_place(change, same):
    other = Grid(**{"height": 60, "width": 80, "crs": UTM, "transform": PLACE} | change)
    assert rasters.same_place(GRID, other) == rasters.same_place(other, GRID) == same


def test_names_of_reference_systems_are_spelt_as_files_do(tmp_path):
    rasters.write(tmp_path / "a.tif", np.ones((1, 4, 4), np.uint8), UTM, PLACE)
    assert rasters.crs_text("epsg:32633") == rasters.read_grid(tmp_path / "a.tif").crs == UTM
    with pytest.raises(UserError, match=r"^'mars' is no coordinate reference system: .*EPSG:32633\.$"):
        rasters.crs_text("mars")


def shapes(*geometries) -> Shapes:
    return Shapes(np.array(geometries), (None,) * len(geometries), UTM)


@pytest.mark.parametrize("transform", [PLACE, (10.0, 0.0, 500000.0, 0.0, 10.0, 4999400.0), (8, 6, 499900, 6, -8, 5e6)])
def test_shapes_are_the_same_in_any_window(transform):
    rng = np.random.default_rng(0)
    centres = np.c_[500000 + rng.uniform(0, 800, 40), 5000000 - rng.uniform(0, 600, 40)]
    found = shapes(*(shapely.convex_hull(shapely.multipoints(c + rng.normal(0, 60, (5, 2)))) for c in centres))
    ids, grid = np.arange(40) % 3, Grid(60, 80, UTM, transform)
    whole = found.burn(ids, grid, 0, 0, 60, 80, 9)
    assert len(np.unique(whole)) == 4
    for row, col, height, width in ((0, 0, 16, 16), (7, 33, 20, 40), (59, 79, 1, 1)):
        part = found.burn(ids, grid, row, col, height, width, 9)
        np.testing.assert_array_equal(part, whole[row : row + height, col : col + width])
    row, col = np.mgrid[:60, :80] + 0.5
    a, b, c, d, e, f = transform
    expected = np.full((60, 80), 9)
    for geometry, i in zip(found.geometries, ids, strict=True):
        expected[shapely.contains_xy(geometry, a * col + b * row + c, d * col + e * row + f)] = i
    np.testing.assert_array_equal(whole, expected)


def test_shapes_on_the_ground_of_a_grid():
    inside, outside = shapely.box(500790, 4999000, 501000, 4999410), shapely.box(500801, 4999000, 501000, 4999399)
    assert shapes(outside, inside).touch(GRID) and not shapes(outside).touch(GRID)
    chosen = shapes(outside, inside).chosen([1])
    assert len(chosen.values) == 1 and chosen.geometries[0] is inside


def test_the_data_file_of_an_envi_header(tmp_path):
    header = tmp_path / "scene.bsq.hdr"
    with pytest.raises(UserError, match="without its data file"):
        data_file(header)
    for name in ("scene.bsq.img", "scene.bsq"):
        (tmp_path / name).touch()
        assert data_file(header) == tmp_path / name
    assert data_file(tmp_path / "scene.tif") == tmp_path / "scene.tif"


def test_a_raster_without_reference_system_or_place_has_no_georeference(tmp_path):
    profile = {"driver": "GTiff", "count": 1, "height": 4, "width": 5, "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.tif", "w", transform=rasterio.Affine(*PLACE), **profile):
        pass
    assert rasters.read_grid(tmp_path / "a.tif") == Grid(4, 5, "", ())
    with pytest.raises(UserError, match="does not exist"):
        rasters.read_grid(tmp_path / "b.tif")


# EPSG:32633 as some programs write it: other names, no authority.
UTM33 = (
    'PROJCS["zone 33 of our own",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",15],PARAMETER["scale_factor",0.9996],'
    'PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1]]'
)


def test_one_reference_system_may_be_written_in_several_ways():
    assert rasters.same_crs("EPSG:32633", "EPSG:32633") and rasters.same_crs(UTM33, UTM33)
    assert rasters.same_crs(UTM33, UTM33.replace("zone 33 of our own", "WGS 84 / UTM zone 33N"))
    assert not rasters.same_crs("EPSG:32633", "EPSG:32634") and not rasters.same_crs("EPSG:32633", "")
    assert rasters.crs_name(UTM33) == "zone 33 of our own"
    assert rasters.crs_name("EPSG:32633") == "EPSG:32633"
