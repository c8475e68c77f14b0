"""Areas of interest: their grids, their tiles, and what is no area."""

import geopandas
import numpy as np
import pytest
import shapely
from pyproj import Transformer
from shapely.geometry import LineString, Polygon, box

from specdm.errors import UserError
from specdm.settings import Area
from specdm.sources import areas


def of_bounds(bounds, crs="EPSG:32632", resolution_m=10.0, **more):
    return areas.ground(Area(bounds=bounds, crs=crs, **more), None, resolution_m)


def of_file(tmp_path, geometries, crs="EPSG:4326", name="area.gpkg", resolution_m=10.0, **more):
    geopandas.GeoDataFrame(geometry=geometries, crs=crs).to_file(tmp_path / name)
    return areas.ground(Area(file=name, **more), tmp_path, resolution_m)


def covered_once(ground):
    """How often tiles show each pixel."""
    times = np.zeros((ground.grid.height, ground.grid.width), int)
    for tile in ground.tiles:
        times[tile.row : tile.row + tile.height, tile.col : tile.col + tile.width] += 1
    return times


@pytest.mark.parametrize(
    ("side_px", "fewest"), [(1, 1), (2500, 1), (2501, 4), (5000, 4), (5001, 9), (10_980, 25), (12_500, 25)]
)
def test_tiles_are_as_few_as_the_limit_allows_and_cover_everything_once(side_px, fewest):
    edge = 600_000, 4_800_000
    ground = of_bounds((*edge, edge[0] + 60 * side_px, edge[1] + 60 * side_px), resolution_m=60)
    assert (ground.grid.height, ground.grid.width) == (side_px, side_px) and len(ground.tiles) == fewest
    assert (covered_once(ground) == 1).all()
    assert max(max(tile.height, tile.width) for tile in ground.tiles) <= 2500


def test_bounds_of_tiles_lie_beside_each_other():
    ground = of_bounds((600_000, 4_800_000, 600_000 + 36_000, 4_800_000 + 12_000))
    boxes = [box(*ground.bounds(tile)) for tile in ground.tiles]
    assert len(boxes) == 2 and boxes[0].touches(boxes[1])
    assert shapely.union_all(boxes).equals(box(600_000, 4_800_000, 636_000, 4_812_000))


def test_edges_lie_on_the_grid_of_the_coarsest_band_around_the_area():
    ground = of_bounds((600_013, 4_800_047, 600_190, 4_800_121))
    assert ground.grid.transform == (10, 0, 600_000, 0, -10, 4_800_180)
    assert (ground.grid.height, ground.grid.width) == (18, 24)
    odd = of_bounds((600_013, 4_800_047, 600_190, 4_800_121), resolution_m=25)
    assert odd.grid.transform[2] % 25 == 0 and odd.grid.transform[5] % 25 == 0


@pytest.mark.parametrize(
    ("lon", "lat", "crs"), [(14.5, 46.1, "EPSG:32633"), (-70.6, -33.4, "EPSG:32719"), (179.5, 10.0, "EPSG:32660")]
)
def test_the_zone_is_that_of_the_area_and_holds_all_of_it(tmp_path, lon, lat, crs):
    shape = Polygon([(lon, lat), (lon + 0.03, lat + 0.01), (lon + 0.01, lat + 0.04)])
    ground = of_file(tmp_path, [shape])
    assert ground.grid.crs == crs
    step, _, west, _, _, north = ground.grid.transform
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(*np.transpose(shape.exterior.coords))
    assert west <= min(x) < west + 60 and north - 60 < max(y) <= north
    assert max(x) <= west + step * ground.grid.width < max(x) + 60
    assert min(y) - 60 < north - step * ground.grid.height <= min(y)


def test_a_file_in_another_system_gives_the_same_grid(tmp_path):
    here = of_bounds((600_000, 4_800_000, 606_000, 4_803_000))
    drawn = box(600_000, 4_800_000, 606_000, 4_803_000).segmentize(100)  # its edges are curves in degrees
    shape = geopandas.GeoSeries([drawn], crs=32632).to_crs(4326)
    assert of_file(tmp_path, shape).grid == here.grid


def test_edges_that_are_straight_in_degrees_are_followed_where_they_bend():
    ground = of_bounds((12.1, 46.0, 17.9, 46.1), "EPSG:4326", resolution_m=60)
    south = ground.grid.transform[5] - 60 * ground.grid.height
    lowest = Transformer.from_crs(4326, 32633, always_xy=True).transform(15.0, 46.0)[1]
    assert lowest - 120 < south <= lowest  # kilometres below both corners


def test_all_shapes_of_a_file_are_one_area(tmp_path):
    shapes = [box(14.50, 46.10, 14.51, 46.11), box(14.60, 46.10, 14.61, 46.11)]
    ground = of_file(tmp_path, shapes)
    assert ground.grid.width * 10 > 7700


def test_tiles_that_show_nothing_of_the_area_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(areas, "LARGEST_PX", 20)
    whole = box(600_000, 4_800_000, 600_600, 4_800_600)
    ring = whole.difference(box(600_200, 4_800_200, 600_400, 4_800_400))  # exactly the tile in the middle
    ground = of_file(tmp_path, [ring], crs="EPSG:32632")
    assert len(ground.tiles) == 8 and (covered_once(ground)[20:40, 20:40] == 0).all()


def test_a_grid_of_choice_is_kept_across_zones():
    bounds = (11.9, 46.0, 12.1, 46.1)  # zones 32 and 33 meet at 12 degrees
    with pytest.raises(UserError, match=r"across the UTM zones 32 to 33: set its grid .*EPSG:32633"):
        of_bounds(bounds, "EPSG:4326")
    assert of_bounds(bounds, "EPSG:4326", grid="EPSG:32632").grid.crs == "EPSG:32632"


def test_an_area_drawn_in_a_zone_keeps_that_zone_beyond_its_edge(tmp_path):
    bounds = (699_960, 5_190_240, 809_760, 5_300_040)  # a tile of Sentinel-2 in zone 32 that reaches into zone 33
    assert of_bounds(bounds).grid.crs == of_file(tmp_path, [box(*bounds)], crs="EPSG:32632").grid.crs == "EPSG:32632"
    assert (of_bounds(bounds).grid.height, of_bounds(bounds).grid.width) == (10_980, 10_980)


def test_an_area_up_to_the_edge_of_its_zone_is_in_that_zone():
    assert of_bounds((11.9, 46.0, 12.0, 46.1), "EPSG:4326").grid.crs == "EPSG:32632"


@pytest.mark.parametrize(
    ("bounds", "crs", "said"),
    [
        ((179.9, 10, -179.9, 11), "EPSG:4326", "antimeridian"),
        ((179.9, 10, 180.1, 11), "EPSG:4326", "across the antimeridian"),
        ((600_100, 4_800_000, 600_000, 4_800_100), "EPSG:32632", "exchange them"),
        ((10, 84.5, 10.1, 84.6), "EPSG:4326", "84 degrees north or 80 south"),
        ((10, 46, 10.1, 46.1), "EPSG:99999", "is no coordinate reference system"),
        ((10, 46, 10.1, 46.1), "the moon", "is no coordinate reference system"),
        ((6e9, 4e9, 7e9, 5e9), "EPSG:32632", "coordinates that EPSG:32632 does not have|UTM ends|antimeridian"),
    ],
)
def test_bounds_that_are_no_area_are_one_sentence(bounds, crs, said):
    with pytest.raises(UserError, match=said) as failure:
        of_bounds(bounds, crs)
    assert "\n" not in str(failure.value)


def test_a_grid_that_is_not_in_metres_is_refused():
    with pytest.raises(UserError, match="EPSG:4326 is not in metres"):
        of_bounds((10, 46, 10.1, 46.1), "EPSG:4326", grid="EPSG:4326")


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([LineString([(14, 46), (14.1, 46.1)])], "covers no ground"),
        ([Polygon([(14, 46), (14.1, 46.1), (14.1, 46), (14, 46.1)])], "not a valid polygon .Self-intersection"),
        ([Polygon()], "holds no shapes"),
        ([box(-179.9, 10, 179.9, 11)], "antimeridian"),
    ],
    ids=["line", "bow tie", "empty", "around the world"],
)
def test_shapes_that_are_no_area_are_one_sentence(tmp_path, shapes, said):
    with pytest.raises(UserError, match=said) as failure:
        of_file(tmp_path, shapes)
    assert str(tmp_path / "area.gpkg") in str(failure.value) and "\n" not in str(failure.value)


def test_a_file_that_is_missing_or_without_system_is_told(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.gpkg does not exist"):
        areas.ground(Area(file="nowhere.gpkg"), tmp_path, 10)
    with pytest.raises(UserError, match="names no coordinate reference system"):
        of_file(tmp_path, [box(14, 46, 14.1, 46.1)], crs=None, name="area.shp")
