"""Bad OSCD input: one sentence that names the file and the remedy, and nothing half-written."""

import errno

import numpy as np
import pytest
from PIL import Image

from specdm import rasters
from specdm.errors import UserError
from specdm.sources import oscd

IMAGES = "Onera Satellite Change Detection dataset - Images"
LABELS = "Onera Satellite Change Detection dataset - Train Labels"


@pytest.fixture
def root(small_oscd):
    return small_oscd({"alder": ("train", 64, 64, 2.0), "cedar": ("test", 64, 64, 3.0)})


@pytest.fixture
def refused(tmp_path):
    """Expects one sentence with some words, and no output: refused(root, *words, **settings)."""

    def check(root, *words, **settings):
        with pytest.raises(UserError) as caught:
            oscd.prepare(root, tmp_path / "out", **({"patch_px": 32, "stride_px": 16, "val_cities": ()} | settings))
        message = str(caught.value)
        assert message.endswith(".") and "\n" not in message
        assert all(word in message for word in words), message
        assert not [p for p in tmp_path.iterdir() if p != root]

    return check


def band_file(root, band, date=1):
    return next((root / IMAGES / "alder" / f"imgs_{date}").glob(f"*_{band}.tif"))


def test_missing_folder(tmp_path, refused):
    refused(tmp_path / "nowhere", "nowhere", "specdm download oscd")


def test_missing_lists(root, refused):
    (root / IMAGES / "train.txt").unlink()
    refused(root, "train.txt", "does not exist")


def test_list_naming_an_absent_city(root, refused):
    (root / IMAGES / "test.txt").write_text("cedar,atlantis\n")
    refused(root, "atlantis", "missing")


def test_unknown_validation_city(root, refused):
    refused(root, "'cedar'", "train.txt", val_cities=("cedar",))


def test_missing_band_file(root, refused):
    band_file(root, "B05", date=2).unlink()
    refused(root, "imgs_2", "*_B05.tif", "fetch")


def test_bands_that_are_not_asked_for_may_be_missing(root, tmp_path):
    band_file(root, "B05", date=2).unlink()
    report = oscd.prepare(root, tmp_path / "out", bands=("B02", "B8A"), patch_px=32, stride_px=16, val_cities=())
    assert report.kept("train") == 9


def test_truncated_tiff(root, refused):
    path = band_file(root, "B03")
    pixels = np.random.default_rng(0).integers(0, 9999, (1, 64, 64), np.uint16)
    rasters.write(path, pixels)
    path.write_bytes(path.read_bytes()[:3000])
    refused(root, path.name, "damaged")


def test_wrong_shape(root, refused):
    path = band_file(root, "B06")
    rasters.write(path, np.ones((1, 20, 32), np.uint16))
    refused(root, path.name, "(40, 64)", "(64, 64)")


def test_another_type(root, refused):
    for path in (root / IMAGES / "alder").rglob("*.tif"):
        pixels = rasters.read(path).pixels.astype(np.float32)
        path.unlink()
        rasters.write(path, pixels)
    refused(root, "alder", "float32", "uint16")


def test_unknown_label_code(root, refused):
    path = root / LABELS / "alder" / "cm" / "alder-cm.tif"
    rasters.write(path, np.full((1, 64, 64), 7, np.uint8))
    refused(root, path.name, "7", "[1, 2]")


def test_missing_label(root, refused):
    (root / LABELS / "alder" / "cm" / "alder-cm.tif").unlink()
    refused(root, "cm.png", "labels")


def test_damaged_png(root, refused):
    folder = root / LABELS / "alder" / "cm"
    (folder / "alder-cm.tif").unlink()
    (folder / "cm.png").write_bytes(b"<html>no such file</html>")
    refused(root, "cm.png", "damaged")


def test_label_of_another_size(root, refused):
    folder = root / LABELS / "alder" / "cm"
    (folder / "alder-cm.tif").unlink()
    Image.new("RGBA", (60, 64)).save(folder / "cm.png")
    refused(root, "cm.png", "(64, 60)", "(64, 64)")


def test_all_zero_city(root, refused):
    for path in (root / IMAGES / "alder").rglob("*.tif"):
        scene = rasters.read(path)
        path.unlink()
        rasters.write(path, np.zeros_like(scene.pixels), scene.crs, scene.transform)
    refused(root, "alder", "only zeros")


def test_patch_larger_than_every_city(root, refused):
    refused(root, "128 px", "patch_px", patch_px=128)


def test_unknown_grid(root, refused):
    refused(root, "'resampled'", "'registered'", grid="resampled")


def test_registered_grid_without_georeference(root, refused):
    path = band_file(root, "B02", date=2)
    pixels = rasters.read(path).pixels
    path.unlink()
    rasters.write(path, pixels)
    refused(root, path.name, "official", grid="registered")


def test_full_disk(root, refused, monkeypatch):
    from specdm.patches import PatchWriter

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PatchWriter, "append", full)
    refused(root, "disk is full", "out")
