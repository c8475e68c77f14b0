"""Bad SegMunich input: one sentence that names the file and the remedy, and nothing half-written."""

import errno

import numpy as np
import pytest

from specdm import rasters
from specdm.errors import UserError
from specdm.sources import segmunich


@pytest.fixture
def root(small_segmunich, pair):
    return small_segmunich({"train": {"a": pair(0), "b": pair(1)}, "test": {"c": pair(2)}})


@pytest.fixture
def refused(tmp_path):
    """Expects one sentence with some words, and no output: refused(root, *words, **settings)."""

    def check(root, *words, **settings):
        with pytest.raises(UserError) as caught:
            segmunich.prepare(root, tmp_path / "out", **({"patch_px": 32, "val_fraction": 0} | settings))
        message = str(caught.value)
        assert message.endswith(".") and "\n" not in message
        assert all(word in message for word in words), message
        assert not [p for p in tmp_path.iterdir() if p != root]

    return check


def image(root, name="a"):
    return root / "train" / "img" / f"{name}.tif"


def label(root, name="a"):
    return root / "train" / "label" / f"{name}.tif"


def test_missing_folder(tmp_path, refused):
    refused(tmp_path / "nowhere", "nowhere", "specdm download segmunich")


def test_missing_lists(root, refused):
    for path in (root / "dataset").iterdir():
        path.unlink()
    refused(root, "dataset", "train.txt")


def test_lists_naming_absent_files(root, refused):
    (root / "dataset" / "train.txt").write_text("a\nb\nghost\n")
    refused(root, "2 listed files", "ghost.tif")


def test_metadata_without_its_columns(root, refused):
    (root / "dataset" / "metadata.csv").write_text("name,part\na,train\n")
    refused(root, "metadata.csv", "id and source")


def test_truncated_tiff(root, refused):
    image(root).write_bytes(image(root).read_bytes()[:4000])
    refused(root, "a.tif", "damaged")


def test_undeclared_band_order(root, refused):
    refused(root, "a.tif", "(10, 32, 32)", "3 bands", bands=("B04", "B03", "B02"))


def test_ambiguous_axes(root, refused):
    rasters.write(image(root), np.ones((10, 32, 10), np.uint16))
    refused(root, "a.tif", "first or last")


def test_unknown_type(root, refused):
    rasters.write(image(root), np.ones((10, 32, 32), np.uint8))
    refused(root, "a.tif", "uint8")


def test_mixed_types(root, refused):
    rasters.write(image(root, "b"), np.ones((10, 32, 32), np.float32))
    refused(root, "b.tif", "float32", "uint16")


def test_nan(root, refused):
    pixels = np.ones((10, 32, 32), np.float32)
    pixels[3, 4, 5] = np.nan
    rasters.write(image(root), pixels)
    refused(root, "a.tif", "NaN")


def test_wrong_shape(root, refused):
    refused(root, "a.tif", "(32, 32)", "patch_px 64", patch_px=64)


def test_label_of_another_size(root, refused):
    rasters.write(label(root), np.full((1, 32, 30), 31, np.uint8))
    refused(root, "label", "a.tif", "(1, 32, 30)", "(32, 32)")


def test_unknown_label_code(root, refused):
    rasters.write(label(root), np.full((1, 32, 32), 99, np.uint8))
    refused(root, "label", "a.tif", "99")


def test_nothing_left_after_cleaning(root, refused):
    for path in root.rglob("label/*.tif"):
        rasters.write(path, np.zeros((1, 32, 32), np.uint8))
    refused(root, "No patch", "max_background")


def test_name_without_position(root, refused):
    refused(root, "a.tif", "row and col", position_pattern=r"r(?P<row>\d+)")


def test_too_few_groups(root, refused):
    refused(
        root, "1 spatial groups", "block_px", splits="grouped", val_fraction=0.1,
        position_pattern="(?P<position>)",
    )  # fmt: skip


def test_unknown_splits(root, refused):
    refused(root, "'random'", "'grouped'", splits="random")


def test_full_disk(root, refused, monkeypatch):
    from specdm.patches import PatchWriter

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PatchWriter, "append", full)
    refused(root, "disk is full", "out")
