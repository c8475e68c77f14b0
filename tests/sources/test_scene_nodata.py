"""Pixels and bands without data: which they are, what they hold in the patches, and that they have no label."""

import numpy as np
import pytest

from specdm.config import parse_section
from specdm.rasters import Grid
from specdm.settings import ImageFile
from specdm.sources.scene_image import SceneImage

UTM, PLACE = "EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)
SIZE = (80, 96)


@pytest.fixture
def scene(lay, numbered):
    """Makes a scene of changed pixels: make(image -> image, name, **profile) -> scene, image and codes."""

    def make(change, name: str = "i", dtype="int32", **profile) -> tuple[dict, np.ndarray, np.ndarray]:
        image, codes = numbered(*SIZE, dtype=dtype)
        change(image)
        return {"images": lay(f"{name}.tif", image, **profile), "labels": lay("l.tif", codes)}, image, codes

    return make


def where_missing(image, codes, gone, nodata) -> tuple[np.ndarray, np.ndarray]:
    return np.where(gone, nodata, image), np.where(gone, 255, codes - 1)


def blank(image, value) -> np.ndarray:
    """Set all bands in some pixels and one band in others; returns both."""
    everywhere, one = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    everywhere[10:30, 20:50] = one[40:55, 5:40] = True
    image[:, everywhere] = value
    image[1, one] = value
    return np.stack([everywhere, one])


@pytest.mark.parametrize("where", ["file", "settings", "both"])
def test_zero_in_all_bands_is_no_data_and_in_one_band_a_number(where, scene, cut, same):
    masks = []
    profile = {} if where == "settings" else {"nodata": 0}
    made, image, codes = scene(lambda image: masks.append(blank(image, 0)), **profile)
    patches = cut(made, **({} if where == "file" else {"nodata": 0}))
    same(patches, *where_missing(image, codes, masks[0][0], 0))
    assert patches.meta.nodata == 0
    assert (patches.index["valid_fraction"] < 1).any()


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
@pytest.mark.parametrize("where", ["file", "settings", "the settings overrule the file"])
def test_another_value_in_any_band_is_no_data(where, dtype, scene, cut, same):
    masks = []
    profile = {"file": {"nodata": -7}, "settings": {}}.get(where, {"nodata": 0})
    made, image, codes = scene(lambda image: masks.append(blank(image, -7)), dtype=dtype, **profile)
    patches = cut(made, **({} if where == "file" else {"nodata": -7}))
    expected = -7 if dtype == "int32" else -9999
    assert patches.meta.nodata == expected
    same(patches, *where_missing(image, codes, masks[0].any(axis=0), expected))


@pytest.mark.parametrize("nodata", ["file", None, 0.0])
def test_nan_is_no_data_and_becomes_a_number(nodata, scene, cut, same):
    masks = []
    made, image, codes = scene(lambda image: masks.append(blank(image, np.nan)), dtype="float64")
    patches = cut(made, nodata=nodata)
    assert (patches.images.dtype, patches.meta.nodata) == (np.float32, -9999)
    same(patches, *where_missing(image, codes, masks[0].any(axis=0), np.float32(-9999)))


def test_files_of_a_folder_may_all_declare_nan(lay, cut, numbered, same):
    image, codes = numbered(*SIZE, dtype="float32")
    masks = blank(image, np.nan)
    for name, plane in zip("abc", image, strict=True):
        lay(f"f/{name}.tif", plane, nodata=np.nan)
    patches = cut({"images": {"path": "f", "band_files": "{band}.tif"}, "labels": lay("l.tif", codes)})
    same(patches, *where_missing(image, codes, masks.any(axis=0), -9999))


def test_zero_of_floats_is_no_data_where_declared(scene, cut, same):
    masks = []
    made, image, codes = scene(lambda image: masks.append(blank(image, 0)), dtype="float32", nodata=0)
    same(cut(made), *where_missing(image, codes, masks[0][0], -9999))


def test_undeclared_values_are_data(scene, cut, same):
    made, image, codes = scene(lambda image: blank(image, 0), nodata=0)
    patches = cut(made, nodata=None)
    assert patches.meta.nodata is None
    same(patches, image, codes - 1)


def test_a_scene_of_minus_9999_that_nobody_declared_gives_no_patches_without_labels(scene, cut):
    def change(image):
        image[:, :, 48:] = -9999

    made, _, _ = scene(change, dtype="float32")
    patches = cut(made, min_labelled=0.5)
    assert ((patches.masks != 255).mean(axis=(1, 2)) >= 0.5).all()


def test_windows_count_their_labels_where_there_is_data(scene, cut):
    def change(image):
        image[:, :, 40:] = 0

    made, _, _ = scene(change)
    patches = cut(made, nodata=0, min_labelled=0.5, stride_px=8)
    assert patches.index["col"].max() == 32
    counted = np.stack(patches.index["class_counts"].to_numpy()).sum(axis=1)
    np.testing.assert_array_equal(counted, (patches.masks != 255).sum(axis=(1, 2)))


def test_a_pixel_needs_data_on_both_dates(lay, cut, numbered, same):
    image, codes = numbered(*SIZE)
    first, second = image.copy(), image + np.uint16(3)
    gone = np.zeros((2, *SIZE), bool)
    gone[0, 10:30, 10:30] = gone[1, 20:50, 20:60] = True
    first[:, gone[0]] = second[:, gone[1]] = 0
    names = [lay("a.tif", first), lay("b.tif", second)]
    patches = cut({"images": names, "labels": lay("l.tif", codes)}, nodata=0)
    same(patches, np.stack([first, second]), np.where(gone.any(axis=0), 255, codes - 1))


def test_windows_count_their_labels_where_there_is_data_on_both_dates(lay, cut, numbered):
    image, codes = numbered(*SIZE)
    second = image.copy()
    second[:, :, 40:] = 0
    names = [lay("a.tif", image), lay("b.tif", second)]
    patches = cut({"images": names, "labels": lay("l.tif", codes)}, nodata=0, min_labelled=0.5, stride_px=8)
    assert patches.index["col"].max() == 32


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint16", 0), ("uint16", 7), ("float32", 0), ("float32", 7), ("float32", None)]
)
@pytest.mark.parametrize("covered", [SIZE, (60, 71)])
def test_a_look_finds_the_pixels_without_data_that_reading_marks(nodata, dtype, covered, lay, tmp_path):
    """The look reads as little as it can: whatever is known of the bands, it must find the same."""
    rng = np.random.default_rng(0)
    pixels = rng.choice(np.array([0, 7, 7, 8, 9], dtype), (3, *covered))
    pixels[:, 10:30, 20:50] = np.nan if nodata is None else nodata
    pixels[:, 33:] = np.maximum(pixels[:, 33:], 8)
    file = parse_section(ImageFile, {"path": str(tmp_path / "raw" / lay("i.tif", pixels))})
    with SceneImage(file, "abc", (0, 2), nodata, onto=Grid(*SIZE, UTM, PLACE), resampling="nearest") as image:
        for row, col, height, width in (
            (0, 0, 80, 96),
            (5, 11, 16, 16),
            (12, 22, 8, 8),
            (34, 0, 16, 96),
            (28, 40, 9, 56),
        ):
            missing = (image.read(row, col, height, width) == image.nodata).all(axis=0)
            for known in (False, True):
                valid, alive = image.look(row, col, height, width, np.full(2, known))
                np.testing.assert_array_equal(valid, ~missing)
                assert alive.all() or not known


def with_dead(image, value, dead=(1, 4, 5, 6)) -> np.ndarray:
    many = np.concatenate([image] * 3)[:8]
    many[list(dead)] = value
    return many


NAMES = [f"b{k}" for k in range(8)]


@pytest.mark.parametrize(("dtype", "value", "nodata"), [("int16", -32768, -32768), ("float32", np.nan, None)])
def test_bands_without_data_are_named_and_can_be_dropped(dtype, value, nodata, lay, cut, refused, numbered, same):
    image, codes = numbered(*SIZE)
    image = with_dead((image % 3000).astype(dtype), value)
    scene = {"images": lay("i.tif", image, nodata=nodata), "labels": lay("l.tif", codes)}
    refused("b1, b4..b6;", "drop_bands", scenes=[scene], bands=NAMES)
    patches = cut(scene, bands=NAMES, drop_bands=["b1", "b4..b6"])
    assert patches.meta.bands == ("b0", "b2", "b3", "b7")
    same(patches, image[[0, 2, 3, 7]], codes - 1)


def test_a_band_may_lack_data_in_one_scene_only(lay, cut, refused, numbered, same):
    image, codes = numbered(*SIZE)
    image = image.astype("int32")
    good = {"images": lay("good.tif", image, crs=None), "labels": lay("l.tif", codes, crs=None)}
    bad = {"images": lay("bad.tif", with_dead(image, 0, (1,))[:3], crs=None), "labels": "l.tif"}
    patches = cut(good, bad, nodata=0)
    same(patches, image, codes - 1, source="good")
    same(patches, with_dead(image, 0, (1,))[:3], codes - 1, source="bad")
    refused("anywhere: b;", scenes=[bad], nodata=0)


def test_a_band_must_hold_data_on_both_dates(lay, refused, numbered):
    image, codes = numbered(*SIZE, dtype="int32")
    names = [lay("a.tif", image), lay("b.tif", with_dead(image, -1, (2,))[:3])]
    refused("one of the dates: c;", scenes=[{"images": names, "labels": lay("l.tif", codes)}], nodata=-1)


@pytest.mark.parametrize(("dtype", "value"), [("int64", 2**31), ("uint64", 2**32), ("int64", -(2**31) - 1)])
def test_integers_beyond_32_bits_are_refused(dtype, value, lay, refused, numbered):
    image, codes = numbered(*SIZE, dtype=dtype)
    image[1, ::7] = value
    scene = {"images": lay("i.tif", image), "labels": lay("l.tif", codes)}
    refused("i.tif", "int32" if dtype == "int64" else "uint32", scenes=[scene])


def test_infinite_pixels_are_refused(lay, refused, numbered):
    image, codes = numbered(*SIZE, dtype="float32")
    image[1, ::7] = np.inf
    refused("infinite", "i", scenes=[{"images": lay("i.tif", image), "labels": lay("l.tif", codes)}])


@pytest.mark.parametrize(("nodata", "words"), [(-1, "value -1:"), (0.5, "0.5"), (70000, "70000")])
def test_a_nodata_value_must_be_one_of_the_files_type(nodata, words, lay, refused, numbered):
    image, codes = numbered(*SIZE)
    scene = {"images": lay("i.tif", image), "labels": lay("l.tif", codes)}
    refused("uint16", words, "null", scenes=[scene], nodata=nodata)
