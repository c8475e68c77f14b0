import numpy as np
from PIL import Image

from specdm import figures
from specdm.copy_panel import GAP, OUTLINE, Case, copy_panel
from specdm.patches import open_patches

LIMITS = np.array([[0.0, 1.0]] * 3)


def _case(dates, training=None, shift=(0, 0), caption="two\nlines"):
    rng = np.random.default_rng(dates)
    sample, mask = rng.uniform(0, 1, (dates, 4, 32, 32)).astype(np.float32), rng.integers(0, 2, (32, 32), np.uint8)
    return Case(sample, mask, sample if training is None else training, mask, shift, caption)


def _drawn(tmp_path, patches, *cases):
    copy_panel(cases, 8, 16, LIMITS, open_patches(patches).meta, tmp_path / "p.png")
    return np.asarray(Image.open(tmp_path / "p.png"))


def _tiles(picture, n):
    """The n tiles of the last row, at patch size, from left to right, without the pixels of the outline."""
    row, places = picture[-4 * 32 :][::4], [GAP + i * (128 + GAP) + (3 * GAP if i >= n // 2 else 0) for i in range(n)]
    return [row[:, x : x + 128 : 4].astype(int) for x in places]


def test_a_copy_looks_the_same_on_both_sides_and_has_the_colours_of_all_figures(tmp_path, change_patches):
    case = _case(2)
    tiles = _tiles(_drawn(tmp_path, change_patches, case), 6)
    for left, right in zip(tiles[:3], tiles[3:], strict=True):
        np.testing.assert_array_equal(left, right)
    meta = open_patches(change_patches).meta
    channels = figures.composites(meta)[0].channels
    inside = np.s_[10:22, 10:22]
    for tile, date in zip(tiles, case.sample, strict=False):
        np.testing.assert_array_equal(tile[inside], figures.to_rgb(date, channels, LIMITS)[inside])
    np.testing.assert_array_equal(tiles[2][inside], figures.palette(meta.labels)[case.sample_mask][inside])


def test_the_window_is_outlined_in_every_tile(tmp_path, segmentation_patches):
    for tile in _tiles(_drawn(tmp_path, segmentation_patches, _case(1)), 4):
        line = (tile == OUTLINE).all(-1)
        assert line[8, 8:24].all() and line[8:24, 8].all()
        assert not line[:8].any() and not line[24:].any()


def test_a_shifted_patch_is_moved_to_fit_and_black_where_nothing_comes_from(tmp_path, segmentation_patches):
    whole = _case(1)
    moved = np.roll(whole.sample, (-5, 3), (-2, -1))  # its ground lies five rows up and three columns right
    tiles = _tiles(_drawn(tmp_path, segmentation_patches, _case(1, moved, (5, -3))), 4)
    assert (tiles[2][:5] == 0).all() and (tiles[2][:, -3:] == 0).all() and (tiles[3][:5] == 0).all()
    np.testing.assert_array_equal(tiles[2][5:, :-3], tiles[0][5:, :-3])


def test_no_case_is_said_in_words(tmp_path, segmentation_patches):
    picture = _drawn(tmp_path, segmentation_patches)
    assert picture.shape[0] < 60 and picture.min() < 100


def test_a_long_caption_is_not_cut(tmp_path, segmentation_patches):
    wide = _drawn(tmp_path, segmentation_patches, _case(1, caption="word " * 200))
    assert wide.shape[1] > 3000
    assert (wide[:, -60:] < 128).any()
