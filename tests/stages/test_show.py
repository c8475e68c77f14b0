import numpy as np
import pytest
from PIL import Image

from specdm import contact_sheet, figures
from specdm.labels import IGNORE, OSCD, SEGMUNICH
from specdm.patches import PatchMeta, PatchRecord, PatchWriter, open_patches
from specdm.stages.show import choose


def _write(folder, images, masks, groups=None, labels=SEGMUNICH, **meta):
    """A patch set of given arrays, all in training; fields of PatchMeta may be given."""
    described = dict(name="set", sensor="s", level="BOA", scale=1e-4, offset=0.0, nodata=None, labels=labels)
    described |= {"bands": tuple(f"b{i + 1}" for i in range(images.shape[2]))} | meta
    with PatchWriter(folder, PatchMeta(**described), images.shape[1:], images.dtype) as writer:
        records = [
            PatchRecord(f"p{i}", "train", groups[i] if groups else "g", "s", dates="2020-01-02")
            for i in range(len(images))
        ]
        writer.append(images, masks, records)
    return open_patches(folder)


def _random(n=4, t=1, c=4, side=16, dtype="uint16", seed=0):
    rng = np.random.default_rng(seed)
    images = rng.uniform(100, 4000, (n, t, c, side, side)).astype(dtype)
    return images, rng.integers(0, 3, (n, side // 4, side // 4)).repeat(4, 1).repeat(4, 2).astype(np.uint8)


def _tiles(patches, positions=None, thin=1, enlarge=1):
    positions = np.arange(len(patches)) if positions is None else positions
    return contact_sheet._tiles(patches, positions, figures.composites(patches.meta), thin, enlarge)


def test_no_patch_is_chosen_twice_where_each_holds_all_classes(tmp_path):
    images, masks = _random(6)
    masks[:, :3, 0] = 0, 1, 2
    patches = _write(tmp_path / "set", images, masks)
    for seed in range(20):
        chosen = choose(patches, patches.ids("train"), 4, seed)
        assert len(set(chosen.tolist())) == len(chosen) == 4


def test_every_class_is_shown_however_rare(tmp_path):
    images, _ = _random(60)
    masks = np.zeros((60, 16, 16), np.uint8)
    masks[37, 3, 3] = 9
    masks[50:, 8:] = 4
    patches = _write(tmp_path / "set", images, masks)
    for seed in range(5):
        assert set(np.unique(patches.masks[choose(patches, patches.ids("train"), 3, seed)])) == {0, 4, 9}


def test_patches_come_from_as_many_groups_as_there_are(tmp_path):
    images, masks = _random(40)
    groups = ["big"] * 31 + [f"small{i}" for i in range(9)]
    patches = _write(tmp_path / "set", images, masks, groups)
    chosen = choose(patches, patches.ids("train"), 12, 0)
    assert len(set(chosen)) == 12
    assert set(patches.index["group"].iloc[chosen]) == set(groups)


def test_the_choice_follows_the_seed_and_takes_what_there_is(tmp_path):
    images, masks = _random(20)
    patches = _write(tmp_path / "set", images, masks)
    rows = patches.ids("train")
    assert choose(patches, rows, 5, 1).tolist() == choose(patches, rows, 5, 1).tolist()
    assert len({tuple(choose(patches, rows, 5, seed)) for seed in range(5)}) > 1
    assert choose(patches, rows, 99, 0).tolist() == list(range(20))
    assert len(choose(patches, rows, 1, 0)) == 1


def test_small_patches_are_enlarged_pixel_by_pixel(tmp_path):
    images, masks = _random()
    patches = _write(tmp_path / "set", images, masks, bands=("B02", "B03", "B04", "B8A"))
    plain, large = _tiles(patches), _tiles(patches, enlarge=8)
    for small, tall in zip(plain[2], large[2], strict=True):
        np.testing.assert_array_equal(tall, small.repeat(8, 0).repeat(8, 1))
    np.testing.assert_array_equal(plain[2][-1], SEGMUNICH.palette()[masks[2]])


def test_one_stretch_holds_for_all_patches(tmp_path):
    images, masks = _random(2)
    images[1] //= 4
    patches = _write(tmp_path / "set", images, masks)
    bright, dark = _tiles(patches)
    assert dark[0].mean() < 0.5 * bright[0].mean()


def test_pixels_without_data_are_dark_stripes_and_move_no_other_pixel(tmp_path):
    images, masks = _random(3, side=64, dtype="int16")
    whole = _tiles(_write(tmp_path / "whole", images, masks, nodata=-32768))
    images[0, :, :, :4] = -32768
    holed = _tiles(_write(tmp_path / "holed", images, masks, nodata=-32768))
    for k in range(3):
        np.testing.assert_allclose(holed[k][0][4:].astype(int), whole[k][0][4:], atol=4)
    assert set(np.unique(holed[0][0][:4])) <= set(contact_sheet.NO_DATA)


def test_ignored_pixels_are_stripes_of_the_mask_only(tmp_path):
    images, masks = _random()
    masks[0, :4] = IGNORE
    patches = _write(tmp_path / "set", images, masks)
    mask = _tiles(patches)[0][-1]
    assert set(np.unique(mask[:4])) == set(contact_sheet.IGNORED)
    np.testing.assert_array_equal(mask[4:], SEGMUNICH.palette()[masks[0, 4:]])


def test_changes_are_outlined_on_the_second_date_alone(tmp_path):
    images, _ = _random(2, t=2)
    masks = np.zeros((2, 16, 16), np.uint8)
    masks[0, 4:8, 4:8] = 1
    masks[0, 10:12, 10:12] = IGNORE  # not a change
    patches = _write(tmp_path / "set", images, masks, labels=OSCD, bands=("B02", "B03", "B04", "B8A"))
    first, _ = _tiles(patches)
    assert len(first) == 5
    outlined = [(tile == contact_sheet.OUTLINE).all(-1) for tile in first]
    assert [o.any() for o in outlined] == [False, True, False, False, False]
    where = np.argwhere(outlined[1])
    assert where.min() == 4 and where.max() == 8
    assert not outlined[1][5:7, 5:7].any()


class _Recorder:
    """An array that remembers which patches were asked for."""

    def __init__(self, array):
        self.array, self.shape, self.asked = array, array.shape, set()

    def __getitem__(self, i):
        self.asked.add(int(i))
        return self.array[i]


def test_only_the_chosen_patches_are_read(tmp_path):
    images, masks = _random(9)
    patches = _write(tmp_path / "set", images, masks)
    patches.images = recorder = _Recorder(patches.images)
    contact_sheet.contact_sheet(patches, np.array([2, 5]), tmp_path / "sheet.png")
    assert recorder.asked == {2, 5}


@pytest.mark.parametrize(
    ("t", "c", "side", "dtype"),
    [(1, 1, 13, "float32"), (1, 2, 16, "uint16"), (2, 3, 16, "float32"), (1, 156, 8, "int16"), (2, 4, 600, "uint16")],
)
def test_any_set_can_be_shown(tmp_path, verb, capsys, t, c, side, dtype):
    rng = np.random.default_rng(0)
    images = rng.uniform(100, 4000, (2, t, c, side, side)).astype(dtype)
    images[:, :, 0] = 7  # a band without contrast
    masks = rng.integers(0, 2, (2, side, side)).astype(np.uint8)
    _write(tmp_path / "set", images, masks, labels=OSCD, level="unitless", scale=1.0)
    assert verb("show", tmp_path / "set", out=tmp_path / "sheet.png") == 0
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert all((pixels == c.colour).all(-1).any() for c in OSCD.classes)
    assert max(pixels.shape) < 3000
    assert capsys.readouterr().out.startswith(f"show: 2 of 2 train patches in {tmp_path}/sheet.png, ")


def test_the_sheet_of_many_patches_has_a_handy_shape(segmentation_patches, change_patches, tmp_path, verb):
    for folder in (segmentation_patches, change_patches):
        assert verb("show", folder, out=tmp_path / "sheet.png", n=24) == 0
        width, height = Image.open(tmp_path / "sheet.png").size
        assert 0.5 < width / height < 2.5


def test_long_ids_are_cut_in_the_middle_and_text_stays_within_its_width():
    strip = contact_sheet._text("a_very_long_identifier_0001_of_a_patch", 90, wrap=False)
    assert strip.shape[1] == 90
    assert contact_sheet._shortened("0123456789", 7) == "012…789"
    wrapped = contact_sheet._text("some words that need more than one line", 90)
    assert wrapped.shape[0] > strip.shape[0]


def test_an_empty_split_names_those_that_are_not(tmp_path, verb):
    images, masks = _random()
    folder = _write(tmp_path / "set", images, masks).folder
    assert verb("show", folder, out=tmp_path / "sheet.png", split="val") == (
        f"error: {folder}: the split 'val' is empty: choose --split train."
    )
    assert verb("show", folder, out=tmp_path / "sheet.png", split="training") == (
        "error: --split: there is no 'training', choose one of train, val, test."
    )
    assert not (tmp_path / "sheet.png").exists()
