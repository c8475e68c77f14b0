"""The ground and the acquisitions that the local Sentinel Hub serves."""

import math
import re
import zlib

import numpy as np
import pytest

from specdm import rasters
from specdm.bands import SENTINEL2
from tests.service.scenes import Ground, RasterPixels, sentinel2


def plain_ground(seed: int, base_dn: int, band: str, x: float, y: float) -> int:
    """The value of `Ground` at one place, with Python's own numbers."""
    gsd = int(SENTINEL2[band].gsd_m)
    col, row = math.floor(x / gsd), math.floor(y / gsd)
    key = zlib.crc32(f"{seed} {band}".encode())

    def mixed(cell: int, key: int) -> int:
        h = (cell & 0xFFFFFFFF) ^ key
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            h = ((h ^ (h >> shift)) * factor) & 0xFFFFFFFF
        return h >> 16

    noise = (((mixed(col, key) ^ mixed(row, key ^ 0xFFFFFFFF)) * 40503) & 0xFFFF) >> 7
    level = base_dn + 100 * list(SENTINEL2).index(band)
    return round(level + 300 * math.sin(col * gsd / 1700)) + round(300 * math.cos(row * gsd / 2300)) + noise


def test_the_ground_is_its_formula():
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-2e5, 9e5, 40), rng.uniform(0, 9e6, 40)
    for band in ("B01", "B02", "B8A", "B12"):
        got = Ground(seed=7, base_dn=-300).values(band, x, y)
        assert got.tolist() == [plain_ground(7, -300, band, *place) for place in zip(x, y)]


@pytest.mark.parametrize("band", ["B01", "B04", "B05"])
def test_the_ground_is_constant_in_cells_of_the_bands_own_size(band):
    gsd = int(SENTINEL2[band].gsd_m)
    x = np.arange(600_000, 600_000 + 8 * gsd) + 0.5
    values = Ground(seed=3).values(band, x, np.array([5_000_040.5])).reshape(8, gsd)
    assert (values == values[:, :1]).all()
    assert len(set(values[:, 0].tolist())) > 6


def test_the_ground_is_the_same_on_rows_and_columns_as_on_a_grid():
    x, y = np.arange(600_005, 600_305, 10.0)[None], np.arange(5_000_005, 5_000_205, 10.0)[:, None]
    ground = Ground(seed=1)
    np.testing.assert_array_equal(ground.values("B02", x, y), ground.values("B02", *np.broadcast_arrays(x, y)))
    other = Ground(seed=2).values("B02", x, y)
    assert (ground.values("B02", x, y) != other).mean() > 0.95
    assert ground.values("B02", x, y).min() > 0  # 0 is left for no data


def test_a_footprint_is_its_polygon():
    import shapely

    corners = ((600_000, 5_300_000), (640_000, 5_310_000), (630_000, 5_390_000), (610_000, 5_380_000))
    rng = np.random.default_rng(2)
    x, y = rng.uniform(590_000, 650_000, 500), rng.uniform(5_290_000, 5_400_000, 500)
    for ring in (corners, corners[::-1]):
        acquisition = sentinel2("2024-07-03T10:10:31Z", footprint=ring)
        expected = shapely.contains_xy(shapely.Polygon(corners), x, y)
        assert 100 < expected.sum() < 400
        np.testing.assert_array_equal(acquisition.inside(x, y), expected)


def test_a_footprint_is_convex():
    dented = ((0, 0), (10, 0), (10, 10), (9, 1))
    with pytest.raises(AssertionError, match="convex"):
        sentinel2("2024-07-03T10:10:31Z", footprint=dented)


def test_an_acquisition_has_the_name_of_its_product():
    product = r"S2[AB]_MSIL(1C|2A)_\d{8}T\d{6}_N\d{4}_R\d{3}_T\d{2}[A-Z]{3}_\d{8}T\d{6}"
    old = sentinel2("2019-07-03T10:10:31Z", level="L1C", baseline="02.14")
    new = sentinel2("2024-07-03T10:10:31+00:00", baseline="04.00")
    assert re.fullmatch(product, old.id) and re.fullmatch(product, new.id)
    assert "MSIL1C_20190703T101031_N0214" in old.id and old.collection == "sentinel-2-l1c"
    assert (old.offset_dn, new.offset_dn) == (0, 1000)
    assert old.pixels != new.pixels  # each has a ground of its own
    with pytest.raises(AssertionError, match="time zone"):
        sentinel2("2024-07-03T10:10:31")


def test_a_raster_is_read_at_the_nearest_pixel(tmp_path):
    pixels = np.random.default_rng(3).integers(1, 9000, (2, 6, 5)).astype(np.uint16)
    pixels[:, 1, 2] = 0
    pixels[0, 2, 2] = 0  # the other band has data
    rasters.write(tmp_path / "scene.tif", pixels, "EPSG:32632", (20.0, 0.0, 600_000.0, 0.0, -20.0, 5_400_000.0))
    source = RasterPixels(tmp_path / "scene.tif", ("B02", "B04"))
    x, y = np.arange(599_985, 600_125, 10.0)[None], np.arange(5_400_015, 5_399_865, -10.0)[:, None]
    padded = np.zeros((2, 15, 14), np.uint16)
    padded[:, 2:14, 2:12] = pixels.repeat(2, 1).repeat(2, 2)
    for i, band in enumerate(("B02", "B04")):
        np.testing.assert_array_equal(source.values(band, x, y), padded[i])
    np.testing.assert_array_equal(source.valid(x, y), padded.any(axis=0))
    np.testing.assert_array_equal(source.values("B04", x[:, 6:10], y[8:12]), padded[1, 8:12, 6:10])
