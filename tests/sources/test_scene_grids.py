"""Bands and dates on other grids: an image that is linear on the map stays so, without a shift, and gaps are known."""

import numpy as np
import pytest

from specdm import rasters
from specdm.rasters import Grid, WindowedRaster

UTM, PLACE = "EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)
SIZE = (96, 108)


def centres(transform, shape) -> tuple[np.ndarray, np.ndarray]:
    """Metres east and north of the corner of PLACE, of the centres of pixels."""
    a, b, c, d, e, f = transform
    row, col = np.mgrid[: shape[0], : shape[1]] + 0.5
    return a * col + b * row + c - 500000, d * col + e * row + f - 5000000


def linear(transform, shape, k: int = 0) -> np.ndarray:
    """An image that is linear on the map: 2 and 3 numbers a pixel of 10 m, other ones for each k."""
    x, y = centres(transform, shape)
    return 2000 + 4000 * k + (0.2 + 0.1 * k) * x - (0.3 - 0.05 * k) * y


def around(pixel: float, margin: float = 120) -> tuple[tuple[float, ...], tuple[int, int]]:
    """A grid of other pixels that covers SIZE at PLACE and `margin` metres more on all sides."""
    shape = tuple(int((10 * n + 2 * margin) / pixel) for n in SIZE)
    return (pixel, 0.0, 500000.0 - margin, 0.0, -pixel, 5000000.0 + margin), shape


def whole(patches, date: int = 0) -> np.ndarray:
    """One date of all patches put together again, (C,H,W) float with NaN where there is none; overlaps must agree."""
    canvas = np.full((patches.images.shape[2], *SIZE), np.nan)
    size = patches.masks.shape[1]
    for i, (row, col) in enumerate(zip(patches.index["row"], patches.index["col"], strict=True)):
        here = canvas[:, row : row + size, col : col + size]
        patch = patches.images[i, date]
        assert ((here == patch) | np.isnan(here)).all()
        here[:] = patch
    return canvas


@pytest.fixture
def codes(lay):
    return lay("l.tif", (np.arange(SIZE[0])[:, None] // 7 + np.arange(SIZE[1]) // 9) % 3 + 1)


BANDS = {"B1": 60, "B05": 20, "B8A": 10}  # the finest is the last
FILES = {"B1": "T33_B01.tif", "B05": "T33_B5.tif", "B8A": "T33_b8a.tif"}


def band_folder(lay, name: str, dtype="float32", margin=120, add=0.0, **profile) -> dict:
    for k, (band, pixel) in enumerate(BANDS.items()):
        transform, shape = (PLACE, SIZE) if pixel == 10 else around(pixel, margin)
        lay(f"{name}/{FILES[band]}", (linear(transform, shape, k) + add).astype(dtype), transform, **profile)
    return {"path": name, "band_files": "T33_{band}.tif"}


@pytest.mark.parametrize("resampling", ["bilinear", "cubic"])
def test_bands_of_60_and_20_m_are_put_between_those_of_10_m(resampling, lay, cut, codes):
    patches = cut({"images": band_folder(lay, "i"), "labels": codes}, bands=list(BANDS), resampling=resampling)
    assert patches.meta.bands == ("B01", "B05", "B8A")
    assert tuple(patches.index["transform"][0]) == PLACE
    expected = np.stack([linear(PLACE, SIZE, k) for k in range(3)])
    assert np.nanmax(np.abs(whole(patches) - expected)) < 1e-3


def test_the_nearest_pixel_is_the_one_that_covers_the_centre(lay, cut, codes):
    patches = cut({"images": band_folder(lay, "i"), "labels": codes}, bands=list(BANDS), resampling="nearest")
    x, y = centres(PLACE, SIZE)
    for k, pixel in enumerate(BANDS.values()):
        corner, shape = (0, SIZE) if pixel == 10 else (120, around(pixel)[1])
        coarse = linear(PLACE if pixel == 10 else around(pixel)[0], shape, k).astype(np.float32)
        expected = coarse[((corner - y) // pixel).astype(int), ((corner + x) // pixel).astype(int)]
        found = whole(patches)[k]
        np.testing.assert_array_equal(found[~np.isnan(found)], expected[~np.isnan(found)])


def test_integers_are_rounded_and_borders_filled(lay, cut, codes):
    folder = band_folder(lay, "i", "uint16", margin=0)
    patches = cut({"images": folder, "labels": codes}, bands=list(BANDS))
    assert patches.images.dtype == np.uint16 and patches.meta.nodata is None
    error = np.abs(whole(patches) - np.floor([linear(PLACE, SIZE, k) for k in range(3)]))
    assert np.nanmax(error[:, 12:-12, 12:-12]) <= 1
    assert np.nanmax(error) < 40  # at borders the outermost pixels are repeated


def test_a_coarse_band_that_ends_early_leaves_a_gap(lay, cut, codes):
    folder = band_folder(lay, "i")
    transform = (60.0, 0.0, 500000.0, 0.0, -60.0, 5000000.0)
    lay("i/T33_B01.tif", linear(transform, (16, 12)).astype("float32"), transform)  # of 18 columns
    patches = cut({"images": folder, "labels": codes}, bands=list(BANDS), min_labelled=0)
    found = whole(patches)
    seen = ~np.isnan(found[0])
    gap = seen & (np.arange(SIZE[1]) >= 72)
    assert gap.any() and (found[:, gap] == -9999).all() and (found[:, seen & ~gap] > 0).all()


# what lies on the first date's grid: pixel, metres east and south of its corner, rows and columns
SECOND = {
    "shifted": (10.0, 53.0, 47.0, 80, 90),
    "coarse": (20.0, 47.0, -33.0, 40, 45),
    "fine": (5.0, 61.0, 52.0, 150, 170),
    "odd": (7.0, 61.0, 52.0, 100, 130),
    "beyond": (10.0, -148.0, -152.0, 130, 140),
}


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
@pytest.mark.parametrize("resampling", ["bilinear", "cubic"])
@pytest.mark.parametrize("kind", SECOND)
def test_the_second_date_is_read_on_the_grid_of_the_first(kind, resampling, dtype, lay, cut, codes):
    pixel, east, south, *shape = SECOND[kind]
    transform = (pixel, 0.0, 500000.0 + east, 0.0, -pixel, 5000000.0 - south)
    first, second = linear(PLACE, SIZE), linear(transform, shape) + 700
    names = [lay("a.tif", first.round().astype(dtype)), lay("b.tif", second.round(3).astype(dtype), transform)]
    nodata = None if dtype == "float32" else 0
    scene = {"images": names, "labels": codes}
    patches = cut(scene, bands=["a"], nodata=nodata, resampling=resampling, min_labelled=0)
    x, y = centres(PLACE, SIZE)
    right, bottom = east + pixel * shape[1], south + pixel * shape[0]
    covered = (x > east) & (x < right) & (-y > south) & (-y < bottom)
    deep = (x > east + 30) & (x < right - 30) & (-y > south + 30) & (-y < bottom - 30)
    found = whole(patches, date=1)[0]
    seen = ~np.isnan(found)
    np.testing.assert_array_equal(whole(patches)[0][seen], first.round()[seen].astype(dtype))
    assert (found[seen & ~covered] == patches.meta.nodata).all()
    error = (found - first - 700)[seen & deep]
    assert deep[seen].sum() > 1000
    # A pixel of 10 m is 2 and 3 numbers: what is read half a pixel off errs by more than 1.
    rounding = 0 if dtype == "float32" else 1.0
    assert np.abs(error).max() < (0.3 if kind == "odd" else 0.01) + rounding
    assert abs(error.mean()) < 0.02 + rounding / 2
    assert kind == "beyond" or not covered[seen].all()
    for i, (row, col) in enumerate(zip(patches.index["row"], patches.index["col"], strict=True)):
        np.testing.assert_array_equal(patches.masks[i] == 255, ~covered[row : row + 16, col : col + 16])


def test_a_folder_is_read_on_the_grid_of_another_folder(lay, cut, codes):
    first = band_folder(lay, "i")
    for k, band in enumerate(BANDS):
        transform, shape = around(15.0)
        lay(f"j/{FILES[band]}", (linear(transform, shape, k) + 300).astype("float32"), transform)
    second = {"path": "j", "band_files": "T33_{band}.tif"}
    patches = cut({"images": [first, second], "labels": codes}, bands=list(BANDS))
    for date in (0, 1):
        expected = np.stack([linear(PLACE, SIZE, k) + 300 * date for k in range(3)])
        assert np.nanmax(np.abs(whole(patches, date) - expected)) < 1e-3


def test_a_second_date_on_nearly_the_same_grid_is_read_as_it_is(lay, cut, numbered, same):
    image, codes = numbered(*SIZE)
    nearly = (10.0, 0.0, 500000.3, 0.0, -10.0, 5000000.2)
    names = [lay("a.tif", image), lay("b.tif", image[:, ::-1].copy(), nearly)]
    patches = cut({"images": names, "labels": lay("l.tif", codes)})
    same(patches, np.stack([image, image[:, ::-1]]), codes - 1)


def test_the_declared_nodata_is_not_blended_into_its_neighbours(lay, cut, codes):
    """Also where the file declares another value, which the settings overrule."""
    second = linear(PLACE, SIZE).astype("int16")
    second[30:50, 40:60] = -5
    names = [lay("a.tif", linear(PLACE, SIZE).astype("int16")), lay("b.tif", second, (10, 0, 500004, 0, -10, 4999996))]
    lay("c.tif", second, (10, 0, 500004, 0, -10, 4999996), nodata=77)
    found = []
    for other in (names[1], "c.tif"):
        patches = cut({"images": [names[0], other], "labels": codes}, bands=["a"], nodata=-5, min_labelled=0)
        found.append(whole(patches, date=1)[0])
        values = found[-1][~np.isnan(found[-1])]
        assert (values == -5).any() and (values[values != -5] >= 1990).all()
    np.testing.assert_array_equal(*found)


def test_files_without_georeference_lie_on_each_other(lay, cut, numbered, same):
    image, codes = numbered(*SIZE)
    for name, plane in zip("abc", image, strict=True):
        lay(f"i/{name}.tif", plane, crs=None)
    second = lay("b.tif", image + np.uint16(9), crs=None)
    scene = {"images": [{"path": "i", "band_files": "{band}.tif"}, second], "labels": lay("l.tif", codes, crs=None)}
    patches = cut(scene)
    same(patches, np.stack([image, image + np.uint16(9)]), codes - 1)
    assert set(patches.index["crs"]) == {""}


@pytest.mark.parametrize("pixel", [10.0, 20.0, 13.0, 7.0, 4.0])
@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
def test_a_pixel_does_not_depend_on_the_window_it_is_read_in(pixel, resampling, lay, tmp_path):
    pixels = np.random.default_rng(0).uniform(0, 1000, (2, 60, 70)).astype("float32")
    path = tmp_path / "raw" / lay("i.tif", pixels, (pixel, 0, 500003, 0, -pixel, 4999996))
    onto = Grid(48, 52, UTM, PLACE)
    with WindowedRaster(path, onto, resampling) as raster:
        everything = raster.read(0, 0, 48, 52, [0, 1])
    for row, col, height, width in ((0, 0, 16, 16), (5, 9, 16, 32), (32, 36, 16, 16), (20, 0, 1, 52)):
        with WindowedRaster(path, onto, resampling) as raster:
            part = raster.read(row, col, height, width, [1])[0]
        np.testing.assert_array_equal(part, everything[1, row : row + height, col : col + width])


@pytest.mark.parametrize("turn", ["south up", "onto south up", "turned"])
def test_grids_of_other_directions(turn, lay, tmp_path):
    ours, theirs = PLACE, (10.0, 0.0, 499700.0, 0.0, -10.0, 5000300.0)
    if turn == "south up":
        theirs = (10.0, 0.0, 499700.0, 0.0, 10.0, 4998500.0)
    elif turn == "onto south up":
        ours = (10.0, 0.0, 500000.0, 0.0, 10.0, 4999040.0)
    else:
        theirs = (9.6, 2.8, 499500.0, 2.8, -9.6, 5000300.0)
    path = tmp_path / "raw" / lay("i.tif", linear(theirs, (190, 190)).astype("float32"), theirs)
    with WindowedRaster(path, Grid(*SIZE, UTM, ours), "cubic") as raster:
        found = raster.read(0, 0, *SIZE, [0])[0]
    assert np.abs(found - linear(ours, SIZE)).max() < 0.3


def test_where_a_file_covers_a_grid(lay, tmp_path):
    path = tmp_path / "raw" / lay("i.tif", np.ones((1, 20, 30), "uint8"), (20.0, 0, 500050.0, 0, -20.0, 4999930.0))
    with WindowedRaster(path, Grid(*SIZE, UTM, PLACE)) as raster:
        assert raster.covered == pytest.approx((7.0, 5.0, 47.0, 65.0))
    assert rasters.read_grid(path) == Grid(20, 30, UTM, (20.0, 0, 500050.0, 0, -20.0, 4999930.0))
