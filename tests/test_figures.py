import numpy as np
import pytest
from PIL import Image

from specdm import figures
from specdm.labels import IGNORE, OSCD, SEGMUNICH
from specdm.patches import PatchMeta, PatchRecord, PatchWriter, open_patches


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


def test_pixels_without_data_are_black_and_move_no_limit():
    refl = np.random.default_rng(0).uniform(0.1, 0.3, (3, 2, 1, 8, 8)).astype(np.float32)
    limits = figures.stretch_limits(refl, [0, 0, 0])
    valid = np.ones((3, 2, 8, 8), bool)
    valid[1, 0, :2] = False
    refl[:, :, 0][~valid] = -3.2768
    assert figures.stretch_limits(refl, [0, 0, 0])[0, 0] < 0
    np.testing.assert_allclose(figures.stretch_limits(refl, [0, 0, 0], valid), limits, atol=0.01)
    rgb = figures.to_rgb(refl[1, 0], [0, 0, 0], np.array([[-9.0, 9.0]] * 3), valid[1, 0])
    assert (rgb[:2] == 0).all() and (rgb[2:] > 0).all()


def test_limits_without_any_valid_pixel_are_finite():
    assert np.isfinite(figures.stretch_limits(np.zeros((1, 1, 1, 4, 4)), [0], np.zeros((1, 1, 4, 4), bool))).all()


def test_a_band_without_contrast_is_grey_not_black():
    refl = np.full((2, 1, 1, 8, 8), 7, np.float32)
    rgb = figures.to_rgb(refl[0, 0], [0, 0, 0], figures.stretch_limits(refl, [0, 0, 0]))
    assert 100 < rgb.min() == rgb.max() < 200


def test_a_few_bright_pixels_on_a_constant_ground_are_seen():
    """The 2nd and the 98th percentile are one value there."""
    refl = np.full((1, 1, 1, 40, 40), 0.1, np.float32)
    refl[..., :2, :2] = 0.5
    rgb = figures.to_rgb(refl[0, 0], [0, 0, 0], figures.stretch_limits(refl, [0, 0, 0]))
    assert rgb[0, 0].tolist() == [255] * 3 and rgb[20, 20].tolist() == [0] * 3


def _meta(names, nm=(), level="BOA"):
    return PatchMeta("set", "s", level, tuple(names), 1e-4, 0.0, None, SEGMUNICH, wavelengths_nm=tuple(nm))


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (
            _meta(("B02", "B03", "B04", "B8A")),
            {"true colour": "B04 665 nm, B03 560 nm, B02 492 nm", "false colour": "B8A 865 nm, B04 665 nm, B03 560 nm"},
        ),
        (
            _meta((f"b{i}" for i in range(1, 157)), np.linspace(401, 2451, 156)),
            {"true colour": "b21 666 nm, b13 560 nm, b8 494 nm", "false colour": "b34 837 nm, b21 666 nm, b13 560 nm"},
        ),
        (_meta(("blue", "green", "red"), (490, 560, 665)), {"true colour": "red 665 nm, green 560 nm, blue 490 nm"}),
        (_meta(("VV", "VH"), level="unitless"), {"bands": "VH, VV, VV"}),
        (_meta(("height",), level="unitless"), {"band": "height"}),
        (_meta(("swir1", "swir2"), (1610, 2200)), {"bands": "swir2 2200 nm, swir1 1610 nm, swir1 1610 nm"}),
    ],
)
def test_composites_are_called_what_they_are(meta, expected):
    found = {c.title: c.text for c in figures.composites(meta)}
    assert {title: found[title] for title in expected} == expected
    for c in figures.composites(meta):
        assert len(c.channels) == 3
    if len(meta.bands) < 3:
        assert len(found) == 1  # the same bands twice say nothing


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
        assert tuple(figures.palette(patches.meta.labels)[k].tolist()) in colours
    tiles = 2 * patches.images.shape[1] + 1
    scale = figures.SCALE
    assert pixels.shape[1] >= 2 * tiles * 32 * scale
    left, right = np.array_split(pixels, 2, axis=1)
    assert not np.array_equal(left[:, : right.shape[1]], right)


def test_holes_in_one_patch_leave_the_picture_of_the_others(tmp_path, write_patches):
    """Pixels without data, far below all others, would brighten the whole sheet if they entered the stretch."""
    whole = open_patches(write_patches(tmp_path / "set", 1, SEGMUNICH, {"a": ("train", 4)}))
    images = np.array(whole.images)
    images[0, :, :, :8] = 0  # nodata
    with PatchWriter(tmp_path / "holed" / "set", whole.meta, images.shape[1:], images.dtype) as writer:
        writer.append(images, whole.masks[:], [PatchRecord(str(i), "train", "a", "a") for i in range(4)])
    holed = open_patches(tmp_path / "holed" / "set")
    shown = []
    for patches in (whole, holed):
        figures.pairs(patches, patches, np.array([0, 1]), np.array([2, 3]), tmp_path / "sheet.png")
        shown.append(np.asarray(Image.open(tmp_path / "sheet.png")).astype(int))
    difference = np.abs(shown[0] - shown[1]).max(-1)
    changed = np.argwhere(difference > 12)  # the percentiles of fewer pixels differ a little
    scale, tile = figures.SCALE, 32 * figures.SCALE
    top = (28 // figures.SCALE + figures.GAP) * scale
    assert len(changed)
    assert changed[:, 0].min() >= top and changed[:, 0].max() < top + 8 * scale
    assert (shown[1][top : top + 8 * scale, figures.GAP * scale : figures.GAP * scale + tile] == 0).all()


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


@pytest.mark.parametrize(
    ("name", "nm", "text"),
    [("B04", 664.6, "B04 665 nm"), ("665.46nm", 665.46, "665 nm"), ("red", None, "red"), ("b5nm", 5.0, "b5nm 5 nm")],
)
def test_a_band_is_named_once(name, nm, text):
    assert figures.named_band(name, nm) == text


def test_a_composite_of_named_colours_says_so():
    described = {"sensor": "camera", "level": "unitless", "scale": 1.0, "offset": 0.0, "nodata": None, "labels": OSCD}
    shown = figures.composites(PatchMeta("photo", bands=("red", "green", "blue"), **described))
    assert (shown[0].title, shown[0].channels, shown[0].text) == ("true colour", [0, 1, 2], "red, green, blue")
    shown = figures.composites(PatchMeta("photo", bands=("a", "b", "c"), **described))
    assert [c.title for c in shown] == ["bands"]


def test_the_legend_below_names_every_class_in_its_colour(tmp_path, segmentation_patches):
    patches = open_patches(segmentation_patches)
    one = figures.Block("only background", patches.reflectance([0]), np.zeros((1, 32, 32), np.uint8))
    figures.blocks([one, one], patches.meta, tmp_path / "sheet.png")
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    below = pixels[-60:].reshape(-1, 3)
    for c in patches.meta.labels.classes:
        assert (below == c.colour).all(1).sum() > 50, c.name


def test_all_blocks_share_the_stretch_of_the_first(tmp_path, segmentation_patches):
    patches = open_patches(segmentation_patches)
    refl, mask = patches.reflectance([0]), np.zeros((1, 32, 32), np.uint8)
    for name, blocks in {"a": (refl, 3 * refl), "b": (refl, refl)}.items():
        shown = [figures.Block(str(i), values, mask) for i, values in enumerate(blocks)]
        figures.blocks(shown, patches.meta, tmp_path / f"{name}.png")
    a, b = (np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int) for name in "ab")
    half = a.shape[1] // 2
    np.testing.assert_array_equal(a[:, : half - 10], b[:, : half - 10])
    assert a[:, half:].mean() > b[:, half:].mean() + 10


def test_an_outline_surrounds_areas_and_knows_no_pixel_without_a_label():
    mask = np.zeros((6, 7), np.uint8)
    mask[1:3, 1:3] = 1
    mask[0, 5] = IGNORE
    expected = np.zeros((6, 7), bool)
    expected[0, 1:3] = expected[3, 1:3] = expected[1:3, 0] = expected[1:3, 3] = True
    np.testing.assert_array_equal(figures.outline(mask), expected)
    mask[:, 0] = IGNORE
    assert not figures.outline(mask)[:, 0].any()
    mask[5, 6] = 1
    assert figures.outline(mask)[4, 6] and figures.outline(mask)[5, 5] and not figures.outline(mask)[5, 6]


def test_changes_are_outlined_on_the_second_date_of_the_first_composite_alone(tmp_path, change_patches):
    patches = open_patches(change_patches)
    refl = np.zeros((1, 2, 4, 32, 32), np.float32) + np.linspace(0.1, 0.3, 32, dtype=np.float32)
    mask = np.zeros((1, 32, 32), np.uint8)
    mask[0, 10:20, 5:9] = 1
    figures.blocks([figures.Block("real", refl, mask)], patches.meta, tmp_path / "sheet.png")
    yellow = (np.asarray(Image.open(tmp_path / "sheet.png")) == figures.OUTLINE).all(-1)
    rows, columns = np.nonzero(yellow)
    scale, step = figures.SCALE, (32 + figures.GAP) * figures.SCALE
    left, top = figures.GAP * scale + step, (28 // scale + figures.GAP) * scale
    assert yellow.sum() == figures.outline(mask[0]).sum() * scale**2
    assert (columns.min(), columns.max()) == (left + 4 * scale, left + 10 * scale - 1)
    assert (rows.min(), rows.max()) == (top + 9 * scale, top + 21 * scale - 1)
    one = figures.Block("real", refl[:, :1], mask)
    figures.blocks([one], patches.meta, tmp_path / "one.png")
    assert not (np.asarray(Image.open(tmp_path / "one.png")) == figures.OUTLINE).all(-1).any()
