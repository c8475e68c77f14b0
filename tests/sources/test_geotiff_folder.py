"""Folders of image and mask files that others made."""

import numpy as np
import pytest

from specdm import rasters
from specdm.config import parse_section
from specdm.errors import UserError
from specdm.patches import open_patches
from specdm.patches.overlap import on_shared_ground
from specdm.rasters import Annotations
from specdm.settings.exchange import FolderSettings
from specdm.sources import geotiff_folder

UTM = "EPSG:32633"
CLASSES = [{"name": "water", "codes": [10]}, {"name": "land", "codes": [20, 21]}]
USUAL = {"level": "BOA", "scale": 1e-3, "offset": -0.1, "bands": ["red", "nir"], "classes": CLASSES}
SIDE = 16


@pytest.fixture
def root(tmp_path):
    return tmp_path / "raw"


@pytest.fixture
def pair(root):
    """Writes an image and its mask: pair(name, seed, at=(x, y) or None, ...) -> (image, codes)."""

    def write(name, seed=0, at=None, images="images", masks="masks", about=None, mask_about=None, dates=("",)):
        rng = np.random.default_rng(seed)
        image = rng.integers(1, 999, (len(dates), 2, SIDE, SIDE)).astype(np.uint16)
        codes = rng.choice([10, 20, 21], (SIDE, SIDE)).astype(np.uint8)
        place = (UTM, (10.0, 0.0, at[0], 0.0, -10.0, at[1])) if at else ("", ())
        for folder in (images, masks):
            (root / folder).mkdir(parents=True, exist_ok=True)
        with rasters.many_files():
            for t, end in enumerate(dates):
                path = root / images / f"{name}{end}.tif"
                rasters.write_annotated(path, image[t], about or Annotations(), *place)
            rasters.write_annotated(root / masks / f"{name}.tif", codes[None], mask_about or Annotations(), *place)
        return image, codes

    return write


@pytest.fixture
def bring(root, tmp_path):
    """Imports the raw folder: bring(seed=0, **settings) -> PatchSet, report; None leaves a usual setting out."""

    def run(seed=0, **settings):
        chosen = {key: value for key, value in (USUAL | settings).items() if value is not None}
        out = tmp_path / f"out{seed}"
        report = geotiff_folder.prepare(root, out, parse_section(FolderSettings, chosen), name="mine", seed=seed)
        return open_patches(out), report

    return run


@pytest.fixture
def refused(bring, tmp_path):
    """Expects one sentence with some words, and no output."""

    def check(words, **settings):
        with pytest.raises(UserError, match=words) as caught:
            bring(**settings)
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
        assert [p.name for p in tmp_path.iterdir()] == ["raw"]

    return check


def test_pixels_codes_and_settings_arrive(pair, bring):
    made = {name: pair(name, seed=i) for i, name in enumerate("abcdef")}
    patches, report = bring()
    assert sorted(patches.index["id"]) == sorted(made)
    for i, name in enumerate(patches.index["id"]):
        np.testing.assert_array_equal(patches.images[i], made[name][0])
        np.testing.assert_array_equal(patches.masks[i], (made[name][1] != 10).astype(np.uint8))
    meta = patches.meta
    assert (meta.bands, meta.scale, meta.offset, meta.level, meta.nodata) == (("red", "nir"), 1e-3, -0.1, "BOA", None)
    assert meta.labels.names == ("water", "land") and meta.labels.classes[0].colour == (50, 110, 220)
    assert report.files == 6 and report.left_out == 0


def test_what_the_files_say_needs_no_settings(pair, bring):
    about = Annotations(("B04", "B08"), (), (1e-4, 1e-4), (0.05, 0.05), 7.0)
    palette = np.zeros((256, 3), np.uint8)
    palette[[10, 20, 21]] = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    mask_about = Annotations(nodata=0, tags={"classes": "10 lake, river, 20 land, 21 town"}, palette=palette)
    for i in range(4):
        pair(f"p{i}", i, about=about, mask_about=mask_about)
    meta = bring(scale=None, offset=None, bands=None, classes=None)[0].meta
    assert (meta.bands, meta.scale, meta.offset, meta.nodata) == (("B04", "B08"), 1e-4, 0.05, 7)
    assert meta.sensor == "Sentinel-2 MSI" and meta.wavelengths_nm == (664.6, 832.8)
    assert [(c.name, c.colour, c.raw_codes) for c in meta.labels.classes] == [
        ("lake, river", (1, 2, 3), (10,)),
        ("land", (4, 5, 6), (20,)),
        ("town", (7, 8, 9), (21,)),
    ]


def test_wavelengths_of_the_files_are_read(pair, bring):
    for i in range(3):
        pair(f"p{i}", i, about=Annotations(("a", "b"), (501.25, 1610.0)))
    meta = bring(bands=None)[0].meta
    assert meta.wavelengths_nm == (501.25, 1610.0) and meta.sensor == "unnamed sensor"


def test_bands_of_sentinel2_may_be_written_any_usual_way(pair, bring, refused):
    for i in range(3):
        pair(f"p{i}", i, about=Annotations(("B4", "b8a")))
    refused("Sentinel-2 has no band 'red'", sensor="Sentinel-2 MSI")
    meta = bring(bands=None, sensor="Sentinel-2 MSI")[0].meta
    assert meta.bands == ("B04", "B8A") and meta.wavelengths_nm == (664.6, 864.7)
    assert bring(seed=1, bands=None)[0].meta.bands == ("B4", "b8a")  # of another sensor, as far as anyone knows


def test_nodata_of_masks_and_codes_to_ignore_are_ignored(pair, bring, root):
    for i in range(3):
        _, codes = pair(f"p{i}", i)
        codes[0], codes[1] = 0, 99
        with rasters.many_files():
            rasters.write_annotated(root / "masks" / f"p{i}.tif", codes[None], Annotations(nodata=0))
    patches, _ = bring(ignore_codes=[99])
    assert (patches.masks[:, :2] == 255).all() and (patches.masks[:, 2:] < 2).all()


def test_two_dates_and_other_endings(pair, bring, root):
    made = {f"p{i}": pair(f"p{i}", i, masks="labels", dates=("_1", "_2")) for i in range(3)}
    for path in (root / "labels").iterdir():
        path.rename(path.with_name(f"{path.stem}_change.tif"))
    patches, _ = bring(masks="labels", mask_end="_change.tif", image_ends=["_1.tif", "_2.tif"])
    assert patches.images.shape[1] == 2
    for i, name in enumerate(patches.index["id"]):
        np.testing.assert_array_equal(patches.images[i], made[name][0])


@pytest.mark.parametrize(("image_end", "mask_end"), [(".tif", "_mask.tif"), ("_img.tif", ".tif"), ("_a.tif", "_b.tif")])
def test_images_and_masks_in_one_folder(pair, bring, root, image_end, mask_end):
    made = {f"p{i}": pair(f"p{i}", i) for i in range(3)}
    for name in made:
        (root / "images" / f"{name}.tif").rename(root / "masks" / f"{name}{image_end}.moved")
        (root / "masks" / f"{name}.tif").rename(root / "masks" / f"{name}{mask_end}")
        (root / "masks" / f"{name}{image_end}.moved").rename(root / "masks" / f"{name}{image_end}")
    patches, _ = bring(images="masks", image_ends=image_end, mask_end=mask_end)
    assert sorted(patches.index["id"]) == ["p0", "p1", "p2"]
    for i, name in enumerate(patches.index["id"]):
        np.testing.assert_array_equal(patches.images[i], made[name][0])


@pytest.mark.parametrize("inside", [True, False])
def test_folders_of_splits_are_kept(pair, bring, inside):
    for i, split in enumerate(("train", "train", "test", "val")):
        folders = (f"images/{split}", f"masks/{split}") if inside else (f"{split}/images", f"{split}/masks")
        pair("same" if i else "other", i, images=folders[0], masks=folders[1])
    patches, report = bring()
    assert dict(zip(patches.index["id"], patches.index["split"], strict=True)) == {
        "train/other": "train",
        "train/same": "train",
        "val/same": "val",
        "test/same": "test",
    }
    assert patches.meta.warnings == () and report.how == "as the folders say"


def test_a_missing_folder_of_a_split_is_warned_of(pair, bring):
    for i, split in enumerate(("train", "test")):
        pair("a", i, images=f"{split}/images", masks=f"{split}/masks")
    assert bring()[0].meta.warnings == (
        "No patch stands in val: move some files, or give no folders train, val and test.",
    )


def test_files_without_a_place_are_split_at_random_with_a_warning(pair, bring):
    for i in range(20):
        pair(f"p{i:02}", i)
    splits = [bring(seed=seed)[0].index["split"].tolist() for seed in (0, 1)]
    assert splits[0] != splits[1]
    for split in splits:
        assert {s: split.count(s) for s in ("val", "test")} == {"val": 3, "test": 4}
    patches = open_patches(bring(seed=0)[0].folder)
    assert patches.index["split"].tolist() == splits[0]
    assert "20 of 20 files have no georeference" in patches.meta.warnings[0]


def test_neighbours_that_touch_all_stay(pair, bring):
    for i in range(16):
        step = 160 - 1e-3  # m: a patch, less the rounding of its coordinates
        pair(f"p{i:02}", i, at=(5e5 + step * (i % 4), 5e6 - step * (i // 4)))
    patches, report = bring()
    assert report.left_out == 0 and len(patches) == 16 and patches.meta.warnings == ()
    assert patches.index["group"].nunique() == 16
    assert patches.index["crs"].unique().tolist() == [UTM]
    assert patches.index["transform"][5][2] == 5e5 + 160 - 1e-3


def test_tiles_that_overlap_share_no_ground_across_splits(pair, bring):
    for i in range(64):
        pair(f"p{i:02}", i, at=(5e5 + 80 * (i % 8), 5e6 - 80 * (i // 8)))  # half a patch apart
    patches, report = bring()
    assert report.left_out > 0 and len(patches) + report.left_out == 64
    for split in ("val", "test"):
        assert len(patches.ids(split))
        assert not on_shared_ground(patches.index, SIDE, SIDE, split).any()
        assert not on_shared_ground(patches.index, SIDE, SIDE, "val", "test").any()


def test_tiles_of_one_spot_cannot_be_split(pair, refused):
    for i in range(5):
        pair(f"p{i}", i, at=(5e5 + i, 5e6))
    refused("the 5 files overlap too much on the ground")


def test_two_files_cannot_fill_three_splits(pair, refused):
    pair("a", 0)
    pair("b", 1)
    refused(r"2 pair\(s\) of files cannot fill three splits")


def test_an_image_without_a_mask(pair, refused, root):
    pair("a", 0)
    pair("b", 1)
    (root / "masks" / "b.tif").unlink()
    refused(r"images/b\.tif has no partner .*masks/b\.tif")


def test_a_mask_without_an_image(pair, refused, root):
    pair("a", 0)
    pair("b", 1)
    (root / "images" / "b.tif").unlink()
    refused(r"masks/b\.tif has no partner .*images/b\.tif")


def test_a_second_date_that_is_missing(pair, refused, root):
    for name in "ab":
        pair(name, 0, dates=("_1", "_2"))
    (root / "images" / "b_2.tif").unlink()
    refused(r"images/b_1\.tif has no partner .*images/b_2\.tif", image_ends=["_1.tif", "_2.tif"])


def test_an_empty_folder(root, refused):
    root.mkdir()
    refused(r"has no files \*\.tif in images/")


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((2, 16, 17), "uint16", r"differs from a\.tif in size"),
        ((3, 16, 16), "uint16", r"in number of bands \(3 instead of 2\)"),
        ((2, 16, 16), "float32", r"in type of pixels \(float32 instead of uint16\)"),
    ],
)
def test_a_file_of_another_form(pair, refused, root, shape, dtype, words):
    for name in "abc":
        pair(name)
    rasters.write(root / "images" / "b.tif", np.ones(shape, dtype))
    refused(rf"b\.tif {words}" if words.startswith("differs") else words)


@pytest.mark.parametrize(
    ("about", "what", "words"),
    [
        (Annotations(("a", "c")), {"bands": None}, "names of bands"),
        (
            Annotations(("a", "b"), scales=(2, 2), offsets=(0, 0)),
            {"scale": None, "offset": None, "level": "unitless"},
            "scale",
        ),
        (Annotations(("a", "b"), nodata=3), {}, "nodata value"),
    ],
)
def test_files_that_contradict_each_other(pair, refused, about, what, words):
    for name in "abc":
        pair(name, about=about if name == "b" else Annotations(("a", "b")))
    refused(f"b.tif differs from a.tif in {words}", **what)


def test_bands_of_several_scales(pair, refused):
    for name in "abc":
        pair(name, about=Annotations(scales=(1, 2), offsets=(0, 0)))
    refused("scales its bands differently", scale=None, offset=None)


def test_whole_numbers_without_a_scale_are_no_reflectance(pair, refused, bring):
    for name in "abc":
        pair(name)
    refused(r"a\.tif declares no scale", scale=None, offset=None)
    assert bring(scale=None, offset=None, level="unitless")[0].meta.scale == 1


def test_unnamed_bands_and_classes(pair, refused):
    for name in "abc":
        pair(name)
    refused(r"a\.tif does not name its bands", bands=None)
    refused("does not say what its codes mean", classes=None)
    refused("has 2 bands, not 3", bands=["a", "b", "c"])


def test_a_code_of_no_class(pair, refused, root):
    for name in "abc":
        pair(name)
    rasters.write(root / "masks" / "b.tif", np.full((1, SIDE, SIDE), 30, np.uint8))
    refused(r"b\.tif holds the label code 30")


def test_a_mask_of_another_size_or_of_several_bands(pair, refused, root):
    for name in "abc":
        pair(name)
    rasters.write(root / "masks" / "b.tif", np.full((1, SIDE, 8), 10, np.uint8))
    refused(r"b\.tif is \(16, 8\) pixels but its image b\.tif \(16, 16\)")
    rasters.write(root / "masks" / "b.tif", np.full((3, SIDE, SIDE), 10, np.uint8))
    refused("has 3 bands: masks have one")


def test_dates_at_two_places(pair, refused, root):
    for name in "abc":
        pair(name, at=(5e5, 5e6), dates=("_1", "_2"))
    pixels = rasters.read(root / "images" / "b_2.tif").pixels
    rasters.write(root / "images" / "b_2.tif", pixels, UTM, (10.0, 0.0, 6e5, 0.0, -10.0, 5e6))
    refused(r"b_2\.tif lies elsewhere", image_ends=["_1.tif", "_2.tif"])


def test_a_truncated_image(pair, refused, root):
    for name in "abc":
        pair(name)
    path = root / "images" / "b.tif"
    path.write_bytes(path.read_bytes()[:-300])
    refused(r"b\.tif cannot be read, it is damaged")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"level": None}, "level: this key is required"),
        ({"offset": None}, "scale and offset go together"),
        ({"image_ends": []}, "image_ends: give one text"),
        ({"masks": "images"}, "nothing tells them apart"),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, "leave nothing for training"),
        ({"classes": [{"name": "a", "codes": ["x"]}, {"name": "b", "codes": [1]}]}, "'a' needs codes"),
    ],
)
def test_settings_that_make_no_sense(bring, settings, words):
    with pytest.raises(UserError, match=words):
        bring(**settings)
