import numpy as np
import pytest
from PIL import Image

from specdm import figures
from specdm.labels import SEGMUNICH
from specdm.patches import open_patches


def test_the_stretch_is_that_of_the_real_patches_for_both_blocks():
    refl = np.random.default_rng(0).normal(size=(4, 1, 3, 64, 64)).astype(np.float32)
    limits = figures.stretch_limits(refl, [2, 0])
    np.testing.assert_allclose(limits[0], np.percentile(refl[:, :, 2], (2, 98)))
    np.testing.assert_allclose(limits[1], np.percentile(refl[:, :, 0], (2, 98)))


def test_darker_reflectance_is_never_brighter_and_the_limits_are_black_and_white():
    ramp = np.linspace(-1, 2, 90, dtype=np.float32).reshape(1, 1, 90).repeat(3, 0)
    limits = np.array([[0.0, 1.0]] * 3)
    rgb = figures.to_rgb(ramp, [0, 1, 2], limits)[0, :, 0].astype(int)
    assert (np.diff(rgb) >= 0).all()
    assert (rgb[ramp[0, 0] <= 0] == 0).all()
    assert (rgb[ramp[0, 0] >= 1] == 255).all()


def test_channels_arrive_as_red_green_blue():
    image = np.zeros((4, 2, 2), np.float32)
    image[3] = 1
    rgb = figures.to_rgb(image, [3, 1, 0], np.array([[0.0, 1.0]] * 3))
    assert rgb[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["segmentation", "change"])
def test_the_sheet_shows_the_masks_in_their_colours(tmp_path, request, kind):
    patches = open_patches(request.getfixturevalue(f"{kind}_patches"))
    figures.pairs(patches, patches, np.array([0, 1]), np.array([2, 3]), tmp_path / "sheet.png")
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    colours = set(map(tuple, pixels.reshape(-1, 3).tolist()))
    for k in np.unique(patches.masks[:4]):
        assert tuple(patches.meta.labels.palette()[k].tolist()) in colours
    tiles = 2 * patches.images.shape[1] + 1
    scale = figures.SCALE
    assert pixels.shape[1] >= 2 * tiles * 32 * scale
    left, right = np.array_split(pixels, 2, axis=1)
    assert not np.array_equal(left[:, : right.shape[1]], right)


def test_brighter_samples_look_brighter(tmp_path, write_patches):
    """Each set's own stretch would hide it."""
    few = {"a": ("train", 4)}
    real = open_patches(write_patches(tmp_path / "real", 1, SEGMUNICH, few, offset=0.0))
    bright = open_patches(write_patches(tmp_path / "bright", 1, SEGMUNICH, few, offset=0.0, scale=1.5e-4))
    rows = np.arange(2)
    sums = {}
    for samples in (real, bright):
        figures.pairs(real, samples, rows, rows, tmp_path / "sheet.png")
        left, right = np.array_split(np.asarray(Image.open(tmp_path / "sheet.png"))[30:].astype(int), 2, axis=1)
        sums[samples.meta.name] = left.sum(), right.sum()
    assert sums["bright"][0] == sums["real"][0]
    assert sums["bright"][1] > 1.1 * sums["real"][1]


def test_spectra_of_classes_without_pixels_are_left_out(tmp_path, segmentation_patches):
    meta = open_patches(segmentation_patches).meta
    real = np.full((len(meta.labels), len(meta.bands)), np.nan)
    figures.class_spectra(real, real, meta, tmp_path / "none.png")
    real[1] = np.linspace(0.1, 0.4, len(meta.bands))
    figures.class_spectra(real, 1.1 * real, meta, tmp_path / "one.png")
    none, one = (np.asarray(Image.open(tmp_path / name).convert("RGB")) for name in ("none.png", "one.png"))
    colourful = [int((np.ptp(picture.astype(int), axis=-1) > 40).sum()) for picture in (none, one)]
    assert colourful[0] == 0 < colourful[1]
