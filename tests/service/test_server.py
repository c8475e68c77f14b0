"""The local Sentinel Hub, asked by the real client: what it lists and what it draws."""

import numpy as np
import pytest

from specdm import rasters
from tests.service.client import NORTH, box, collection, image, order, settings
from tests.service.scenes import Ground, RasterPixels, sentinel2

JULY = "2024-07-03T10:10:31Z"


def search(hub, **options):
    from sentinelhub import CRS, BBox, SentinelHubCatalog

    usual = {"bbox": BBox((600_000, 5_390_000, 610_000, 5_400_000), CRS("32632")), "time": ("2024-07-01", "2024-07-31")}
    return list(SentinelHubCatalog(settings(hub)).search(collection(hub), **usual | options))


def test_the_catalogue_lists_what_matches(hub):
    hub.acquisitions = [
        sentinel2(JULY, cloud_cover=12.5),
        sentinel2("2024-07-08T10:10:31Z", cloud_cover=60.0),
        sentinel2("2024-07-31T23:59:59Z", cloud_cover=19.9),
        sentinel2("2024-08-01T00:00:00Z"),
        sentinel2(JULY, level="L1C"),
        sentinel2(JULY, tile="T32UQU", west=700_020),
    ]
    july, cloudy, last, august, _, east = hub.acquisitions
    found = search(hub)
    assert [feature["id"] for feature in found] == [last.id, cloudy.id, july.id]  # newest first
    assert [feature["id"] for feature in search(hub, filter="eo:cloud_cover < 20")] == [last.id, july.id]
    assert [feature["id"] for feature in search(hub, time=("2024-08-01", "2024-08-02"))] == [august.id]
    assert [feature["id"] for feature in search(hub, ids=[july.id])] == [july.id]
    everywhere = search(hub, bbox=None)
    assert {feature["id"] for feature in everywhere} == {july.id, cloudy.id, last.id, east.id}
    assert {request.endpoint for request in hub.requests} == {"token", "catalog"}


def test_a_feature_is_the_acquisition(hub):
    from sentinelhub import CRS, Geometry

    triangle = ((600_000, 5_300_000), (650_000, 5_290_200), (620_000, 5_395_000))
    hub.acquisitions = [sentinel2(JULY, cloud_cover=12.5, footprint=triangle)]
    (feature,) = search(hub, bbox=None)
    properties = feature["properties"]
    assert (properties["datetime"], properties["eo:cloud_cover"]) == (JULY, 12.5)
    assert (properties["proj:epsg"], properties["platform"]) == (32632, "sentinel-2a")
    back = Geometry.from_geojson(feature["geometry"]).transform(CRS("32632")).geometry
    assert back.symmetric_difference(hub.acquisitions[0].polygon).area < 1000  # of 2.5e9 square metres
    assert search(hub, bbox=None, fields={"include": ["id", "properties.datetime"], "exclude": []}) == [
        {"id": feature["id"], "properties": {"datetime": JULY}}
    ]
    assert search(hub) == []  # the triangle does not reach the corner of its tile


def test_pages_follow_one_another(hub):
    hub.acquisitions = [sentinel2(f"2024-07-{day:02}T10:10:31Z") for day in range(1, 8)]
    found = search(hub, limit=3)
    assert [feature["id"] for feature in found] == [one.id for one in reversed(hub.acquisitions)]
    assert [request.body.get("next") for request in hub.sent("catalog")] == [None, 3, 6]


def test_pixels_are_the_ground(hub):
    ground = Ground(seed=5)
    hub.acquisitions = [sentinel2(JULY, pixels=ground)]
    bands = ("B04", "B05", "dataMask", "B01")
    got = image(hub, box(7, 5, 30, 20), (30, 20), bands)
    assert got.shape == (20, 30, 4) and got.dtype == np.uint16
    for row, col in np.ndindex(20, 30):
        x, y = np.array([600_000 + 70 + 10 * col + 5]), np.array([NORTH - 50 - 10 * row - 5])
        expected = [1 if band == "dataMask" else int(ground.values(band, x, y)[0]) for band in bands]
        assert got[row, col].tolist() == expected


def test_the_file_knows_its_place(hub, tmp_path):
    hub.acquisitions = [sentinel2(JULY)]
    for interleave in ("pixel", "band"):
        hub.interleave = interleave
        response = order(hub, box(3, 4, 20, 10), (10, 20), ("B02", "B03")).get_data(decode_data=False)[0]
        assert response.headers["Content-Type"] == "image/tiff"
        (tmp_path / "image.tif").write_bytes(response.content)
        raster = rasters.read(tmp_path / "image.tif")
        assert raster.crs == "EPSG:32632" and raster.pixels.shape == (2, 20, 10)
        assert raster.transform == (20.0, 0.0, 600_030.0, 0.0, -5.0, NORTH - 40.0)
        decoded = response.decode()
        np.testing.assert_array_equal(decoded if interleave == "band" else np.moveaxis(decoded, -1, 0), raster.pixels)


def test_neighbours_fit_without_a_seam(hub):
    hub.acquisitions = [sentinel2(JULY)]
    bands = ("B02", "B05", "B09")
    whole = image(hub, box(101, 53, 60, 150), (60, 150), bands)  # more rows than a strip
    parts = [[image(hub, box(101 + col, 53 + row, 30, 50), (30, 50), bands) for col in (0, 30)] for row in (0, 50, 100)]
    np.testing.assert_array_equal(np.concatenate([np.concatenate(row, axis=1) for row in parts]), whole)
    assert (whole[:, :, 0] != np.roll(whole[:, :, 0], 1, axis=1)).mean() > 0.9  # a shift would be seen


def test_many_are_answered_at_once(hub):
    from sentinelhub import SentinelHubDownloadClient

    hub.acquisitions = [sentinel2(JULY)]
    whole = image(hub, box(0, 0, 16, 96), (16, 96))
    parts = [order(hub, box(0, 16 * i, 16, 16), (16, 16)).download_list[0] for i in range(6)]
    hub.fail("process", delay_s=0.3, times=1)  # the others overtake it
    got = SentinelHubDownloadClient(config=settings(hub)).download(parts, max_threads=3)
    np.testing.assert_array_equal(np.concatenate(got), whole)
    assert [request.status for request in hub.sent("process")] == [200] * 7
    assert hub.units_spent == pytest.approx(7 * 0.005)


@pytest.mark.parametrize(("crs", "bounds"), [("32633", (160_000, 5_390_000, 160_240, 5_390_160)), ("4326", None)])
def test_another_coordinate_system_sees_the_same_ground(hub, crs, bounds):
    from pyproj import Transformer

    bounds = bounds or (10.5, 48.5, 10.503, 48.502)
    hub.acquisitions = [sentinel2(JULY, pixels=Ground(seed=5))]
    got = image(hub, bounds, (24, 16), ("B04", "dataMask"), crs=crs)
    to_metres = Transformer.from_crs(f"EPSG:{crs}", "EPSG:32632", always_xy=True)
    west, south, east, north = bounds
    for row, col in ((0, 0), (3, 20), (15, 23), (9, 1)):
        x = west + (col + 0.5) * (east - west) / 24
        y = north - (row + 0.5) * (north - south) / 16
        x, y = to_metres.transform(x, y)
        expected = int(Ground(seed=5).values("B04", np.array([x]), np.array([y]))[0])
        assert got[row, col].tolist() == [expected, 1]


def test_beside_the_footprint_is_nothing(hub):
    triangle = ((600_000, NORTH), (600_000, NORTH - 400), (600_400, NORTH))
    hub.acquisitions = [sentinel2(JULY, footprint=triangle)]
    got = image(hub, box(-4, -4, 48, 48), (48, 48))
    row, col = np.mgrid[-4:44, -4:44] + 0.5
    inside = (row > 0) & (col > 0) & (row + col < 40)
    on_edge = row + col == 40
    np.testing.assert_array_equal(got[..., 1][~on_edge], inside[~on_edge])
    np.testing.assert_array_equal(got[..., 0] > 0, got[..., 1] == 1)


def test_a_time_without_acquisitions_is_an_empty_image_that_costs(hub):
    hub.acquisitions = [sentinel2(JULY), sentinel2("2024-06-03T10:10:31Z", level="L1C")]
    assert not image(hub, box(0, 0, 64, 32), (64, 32), time=("2024-06-01", "2024-06-30")).any()
    assert hub.units_spent == max(0.005, 64 * 32 / 512**2 / 3)


def test_the_order_decides_where_acquisitions_overlap(hub):
    half = ((600_000, NORTH), (600_000, NORTH - 500), (600_100, NORTH - 500), (600_100, NORTH))
    hub.acquisitions = [
        sentinel2("2024-07-08T10:10:31Z", cloud_cover=5, footprint=half, pixels=Ground(seed=1)),
        sentinel2("2024-07-13T10:10:31Z", cloud_cover=50, pixels=Ground(seed=2)),
        sentinel2("2024-07-03T10:10:31Z", cloud_cover=20, pixels=Ground(seed=3)),
    ]
    x, y = 600_005 + 10.0 * np.arange(20)[None], NORTH - 5 - 10.0 * np.arange(20)[:, None]
    one, two, three = (acquisition.pixels.values("B02", x, y) for acquisition in hub.acquisitions)
    over_half = np.where(x < 600_100, one, three)
    for asked, expected in (
        ({}, two),
        ({"mosaicking_order": "mostRecent"}, two),
        ({"mosaicking_order": "leastRecent"}, three),
        ({"mosaicking_order": "leastCC"}, over_half),
        ({"maxcc": 0.3}, over_half),
        ({"time": ("2024-07-01", "2024-07-05")}, three),
    ):
        np.testing.assert_array_equal(image(hub, box(0, 0, 20, 20), (20, 20), ("B02",), **asked)[..., 0], expected)


@pytest.mark.parametrize(("baseline", "offset"), [("02.14", 0), ("03.01", 0), ("04.00", 1000), ("05.10", 1000)])
def test_numbers_are_harmonised_unless_asked_otherwise(hub, baseline, offset):
    dark = Ground(seed=4, base_dn=-300)
    hub.acquisitions = [sentinel2(JULY, baseline=baseline, pixels=dark)]
    x, y = 600_005 + 10.0 * np.arange(32)[None], NORTH - 5 - 10.0 * np.arange(32)[:, None]
    true = dark.values("B02", x, y).astype(int)
    assert (true < 0).any() and (true > 0).any()
    where, size = box(0, 0, 32, 32), (32, 32)
    np.testing.assert_array_equal(image(hub, where, size, ("B02",))[..., 0], np.maximum(true, 0))
    raw = image(hub, where, size, ("B02",), other_args={"processing": {"harmonizeValues": False}})
    np.testing.assert_array_equal(raw[..., 0], np.maximum(true + offset, 0))


def test_reflectance_is_a_fraction(hub):
    hub.acquisitions = [sentinel2(JULY, pixels=Ground(seed=4))]
    x, y = 600_005 + 10.0 * np.arange(32)[None], NORTH - 5 - 10.0 * np.arange(32)[:, None]
    got = image(hub, box(0, 0, 32, 32), (32, 32), ("B8A", "dataMask"), units="REFLECTANCE", sample_type="FLOAT32")
    assert got.dtype == np.float32 and (got[..., 1] == 1).all()
    np.testing.assert_allclose(got[..., 0], Ground(seed=4).values("B8A", x, y) / 1e4, rtol=1e-6)
    rounded = image(hub, box(0, 0, 32, 32), (32, 32), ("B8A",), units="REFLECTANCE")
    assert set(np.unique(rounded)) <= {0, 1}  # what the service makes of fractions in integers


def test_a_raster_is_served_as_it_is(hub, tmp_path):
    pixels = np.random.default_rng(3).integers(1, 9000, (2, 40, 50)).astype(np.uint16)
    pixels[:, 5:9, 30:33] = 0
    rasters.write(tmp_path / "scene.tif", pixels, "EPSG:32632", (10.0, 0.0, 600_000.0, 0.0, -10.0, float(NORTH)))
    hub.acquisitions = [sentinel2(JULY, pixels=RasterPixels(tmp_path / "scene.tif", ("B02", "B04")))]
    got = image(hub, box(-2, 0, 52, 40), (52, 40), ("B04", "B02", "dataMask"))
    assert not got[:, :2].any()
    np.testing.assert_array_equal(np.moveaxis(got[:, 2:, :2], -1, 0), pixels[::-1])
    np.testing.assert_array_equal(got[:, 2:, 2], pixels.any(axis=0))


def test_every_image_says_what_it_cost(hub):
    hub.acquisitions = [sentinel2(JULY, level="L1C")]
    bands = ("B01", "B02", "B10", "dataMask")
    requests = [
        order(hub, box(0, 0, 256, 128), (256, 128), bands, level="L1C"),
        order(hub, box(0, 0, 256, 128), (256, 128), bands, level="L1C", sample_type="FLOAT32"),
        order(hub, box(0, 0, 2, 2), (2, 2), bands, level="L1C"),
    ]
    costs = [float(request.get_data(decode_data=False)[0].headers["X-ProcessingUnits-Spent"]) for request in requests]
    assert costs == [0.125, 0.25, 0.01]
    assert hub.units_spent == pytest.approx(0.385)
